"""Servers that are only imagined: what becomes of those who connect to them, and of those who have."""

from __future__ import annotations

import errno
import os
from random import Random
from typing import Literal, Protocol, TypeAlias

from lb.rehearse.agenda import Agenda
from lb.rehearse.scenario import ConductSpec

__all__ = ["Condition", "Session", "VirtualServer"]

Condition: TypeAlias = Literal["well", "dead", "unreachable", "hung", "failing"]
"""How a server is. ``dead``: its host refuses connects. ``unreachable``: nothing comes back at all. ``hung``: its
system accepts connects, and it says nothing. ``failing``: it serves, but fails checks that ask it for something."""
STUCK = ("unreachable", "hung")
JITTER = 0.1
"""Of all its times, to either side, so that nothing happens at the same moment by design. A guess."""


class Session(Protocol):
    """A client that is joined to a server."""

    def stall(self) -> None:
        """Nothing comes from the server any more."""

    def go_on(self) -> None:
        """It does again."""

    def cut(self) -> None:
        """The server has reset it."""


class VirtualServer:
    """One address."""

    def __init__(self, agenda: Agenda, conduct: ConductSpec, random: Random) -> None:
        self.condition: Condition = "well"
        self.slowness = 1.0
        """How many times longer than usual everything takes."""
        self.sessions: dict[Session, None] = {}
        self._conduct = conduct
        self._agenda = agenda
        self._random = random

    @property
    def stuck(self) -> bool:
        return self.condition in STUCK

    def connect_time(self) -> float:
        """Seconds that the next connect takes."""
        return self._conduct.connect * self._factor()

    def answer_time(self) -> float:
        """Seconds that its answer to the next check takes."""
        return self._conduct.answer * self._factor()

    def _factor(self) -> float:
        return self.slowness * (1 + JITTER * (2 * self._random.random() - 1))

    def become(self, condition: Condition, slowness: float = 1.0) -> None:
        """Change, and have those who are connected feel it."""
        was_stuck = self.stuck
        self.condition, self.slowness = condition, slowness
        for session in list(self.sessions):
            if condition == "dead":
                session.cut()
            elif self.stuck and not was_stuck:
                session.stall()
            elif was_stuck and not self.stuck:
                session.go_on()

    def refusal(self) -> OSError | None:
        """What a connect gets to hear now, if anything comes back."""
        if self.condition == "dead":
            return ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return None
