"""Rehearsals within the test's process."""

from __future__ import annotations

import random
from contextlib import contextmanager

import attrs

from lb.config import parse
from lb.rehearse.imagined import imagined
from lb.rehearse.outcome import outcome
from lb.rehearse.scenario import ClientsSpec, Happening, Reload, Scenario
from lb.rehearse.stage import play

HTTP = 'health = { probe = "http" }'


@contextmanager
def chance_kept():
    """A rehearsal seeds Python's source of randomness; the other tests go on with theirs."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def config_of(*names, pool="", listener=""):
    """Listener and pool ``web``, with servers of these names; the other arguments are lines of TOML."""
    servers = "".join(
        f'[[pools.web.servers]]\nname = "{name}"\naddress = "10.0.0.{number}:80"\n'
        for number, name in enumerate(names, start=1)
    )
    text = f'[listeners.web]\nbind = "127.0.0.1:8080"\npool = "web"\n{listener}\n[pools.web]\n{pool}\n{servers}'
    return imagined(parse(text, "lb.toml"))


def happens(at, does, *servers, **more):
    return Happening(at=at, servers=tuple(f"web/{server}" for server in servers), does=does, **more)


@attrs.frozen
class Rehearsed:
    """What came of one."""

    tally: object
    outcome: object

    def __getitem__(self, name):
        return self.outcome.statistics[name]

    def events(self, *kinds):
        """(when, what) of the timeline."""
        return [(moment.at, moment.text) for moment in self.outcome.timeline if moment.kind in kinds]


def rehearsed(config, *events, duration=60.0, seed=1, clients=None, **of_clients):
    """Rehearse, with clients of one kind unless there are others."""
    if clients is None:
        settings = {"rate": 20.0, "session": 0.5, "arrivals": "even", "distribution": "fixed", **of_clients}
        clients = (ClientsSpec("all", "web", **settings),)
    scenario = Scenario(
        duration=duration,
        seed=seed,
        clients=tuple(clients),
        happenings=tuple(event for event in events if isinstance(event, Happening)),
        reloads=tuple(event for event in events if isinstance(event, Reload)),
    )
    with chance_kept():
        tally = play(config, scenario)
    return Rehearsed(tally, outcome(config, scenario, tally))
