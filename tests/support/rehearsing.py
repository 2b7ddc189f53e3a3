"""Rehearsals in the process of the test."""

from __future__ import annotations

import random
from contextlib import contextmanager

import attrs

from lb.config.load import parse
from lb.tools.rehearse.outcome import outcome
from lb.tools.rehearse.scenario import ClientsSpec, FaultSpec, NodeFaultSpec, Reload, Scenario
from lb.tools.rehearse.simulation import simulate
from lb.tools.rehearse.virtual_config import virtual_config

HTTP = 'health = { probe = "http" }'


@contextmanager
def chance_kept():
    """Restore the state of Python's ``random``, which a rehearsal seeds."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def config_of(*names, pool="", listener=""):
    """Return a configuration with listener and pool ``web`` and servers of these names. Other arguments are TOML."""
    servers = "".join(
        f'[[pools.web.servers]]\nname = "{name}"\naddress = "10.0.0.{number}:80"\n'
        for number, name in enumerate(names, start=1)
    )
    text = f'[listeners.web]\nbind = "127.0.0.1:8080"\npool = "web"\n{listener}\n[pools.web]\n{pool}\n{servers}'
    return virtual_config(parse(text, "lb.toml"))


def happens(at, does, *servers, **more):
    return FaultSpec(at=at, servers=tuple(f"web/{server}" for server in servers), does=does, **more)


@attrs.frozen
class Rehearsed:
    """The result of a rehearsal."""

    recorder: object
    outcome: object

    def __getitem__(self, name):
        return self.outcome.statistics[name]

    def events(self, *kinds):
        """Return (time, text) of the timeline's lines of these kinds."""
        return [(moment.at, moment.text) for moment in self.outcome.timeline if moment.kind in kinds]


def rehearsed(config, *events, duration=60.0, seed=1, clients=None, nodes=(), detect=0.5, **of_clients):
    """Run a rehearsal, with clients of one kind by default, and with one balancer."""
    if clients is None:
        settings = {"rate": 20.0, "session": 0.5, "arrivals": "even", "distribution": "fixed", **of_clients}
        clients = (ClientsSpec("all", "web", **settings),)
    scenario = Scenario(
        duration=duration,
        seed=seed,
        nodes=nodes,
        detect=detect,
        clients=tuple(clients),
        fault_specs=tuple(event for event in events if isinstance(event, FaultSpec)),
        node_fault_specs=tuple(event for event in events if isinstance(event, NodeFaultSpec)),
        reloads=tuple(event for event in events if isinstance(event, Reload)),
    )
    with chance_kept():
        recorder = simulate(config, scenario)
    return Rehearsed(recorder, outcome(config, scenario, recorder))
