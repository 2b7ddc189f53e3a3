"""What befalls the servers of a scenario, as calls on the agenda."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial

from lb.rehearse.agenda import Agenda
from lb.rehearse.host import VirtualHost
from lb.rehearse.scenario import Does, Happening
from lb.rehearse.servers import Condition
from lb.rehearse.tally import Tally

__all__ = ["befall"]

CONDITIONS: Mapping[Does, Condition] = {
    "die": "dead",
    "vanish": "unreachable",
    "hang": "hung",
    "slow": "well",
    "fail": "failing",
    "flap": "dead",
    "join": "well",
    "recover": "well",
}
"""How a server is from then on; one that flaps, at first."""


def befall(happenings: Iterable[Happening], agenda: Agenda, host: VirtualHost, tally: Tally) -> None:
    """Plan everything that happens to servers."""
    fates: dict[str, Fate] = {}
    for happening in happenings:
        for name in happening.servers:
            fate = fates.setdefault(name, Fate(name, agenda, host, tally))
            fate.plan(happening)


class Fate:
    """What befalls one server, called ``pool/server``, one thing after another. The last one to begin counts."""

    def __init__(self, name: str, agenda: Agenda, host: VirtualHost, tally: Tally) -> None:
        self._name = name
        self._agenda = agenda
        self._host = host
        self._tally = tally
        self._latest: Happening | None = None

    def plan(self, happening: Happening) -> None:
        if happening.does == "join":
            self._become("dead")
        self._agenda.at(happening.at, partial(self._begin, happening))
        if happening.lasts != math.inf:
            self._agenda.at(happening.at + happening.lasts, partial(self._end, happening))

    def _become(self, condition: Condition, slowness: float = 1.0) -> None:
        for server in self._host.servers(self._name):
            server.become(condition, slowness)

    def _begin(self, happening: Happening) -> None:
        does = happening.does
        self._latest = happening
        self._tally.befell(self._agenda.now, self._name, does)
        self._become(CONDITIONS[does], happening.by if does == "slow" else 1.0)
        if does == "flap":
            self._agenda.after(happening.every, partial(self._turn, happening, "well"))

    def _turn(self, happening: Happening, condition: Condition) -> None:
        """To the other side of its flapping."""
        if self._latest is happening:
            self._become(condition)
            other: Condition = "dead" if condition == "well" else "well"
            self._agenda.after(happening.every, partial(self._turn, happening, other))

    def _end(self, happening: Happening) -> None:
        if self._latest is happening:
            self._latest = None
            self._tally.befell(self._agenda.now, self._name, "recover")
            self._become("well")
