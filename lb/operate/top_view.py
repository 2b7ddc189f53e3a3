"""What ``lb top`` knows, and what a key does to it. No I/O: answers, events and keys go in, orders come out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import attrs

from lb.operate.ctl_words import Json, seconds_between

__all__ = ["Order", "Place", "TopView"]

WINDOW = 5.0
"""Seconds over which a rate is measured."""
HISTORY = 300
"""Answers that the curve of new connections can show."""
KEPT_EVENTS = 500
"""As many as the balancer keeps."""
PAGE = 10
"""Servers that a page has."""
STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -PAGE, "page down": PAGE}

Place: TypeAlias = tuple[str, str]
"""A pool's name, and that of one of its servers."""


@attrs.frozen
class Order:
    """What the operator wants done to a server."""

    pool: str
    server: str
    action: Literal["drain", "enable"]


@attrs.define
class TopView:
    """The state of the screen."""

    address: str
    """Whom it asks."""
    selected: Place | None = None
    paused: bool = False
    """The picture stands still, so that one can read it."""
    helping: bool = False
    sifted: bool = False
    """Only servers that are not up are to be seen."""
    lost: str = ""
    """Why the balancer cannot be asked; empty while it can."""
    said: str = ""
    """What became of the last order."""
    rates: deque[float] = attrs.field(factory=lambda: deque(maxlen=HISTORY))
    """New connections a second, an answer each."""
    _answers: deque[Json] = attrs.field(factory=deque)
    """Those of the last seconds, the newest last."""
    _events: deque[Json] = attrs.field(factory=lambda: deque(maxlen=KEPT_EVENTS))
    _events_then: tuple[Json, ...] = ()
    """Those that it was paused with."""

    # What comes in

    def learn(self, status: Json) -> None:
        """The status, as the balancer answers it."""
        if self._answers:
            self.rates.append(_rate(_accepted, self._answers[-1], status))
        self._answers.append(status)
        while len(self._answers) > 2 and seconds_between(self._answers[0]["timestamp"], status["timestamp"]) > WINDOW:
            self._answers.popleft()
        self.lost = ""
        self._select_one()

    def lose(self, why: str) -> None:
        """It cannot be asked now. What it counts when it returns may begin at nothing."""
        self.lost = why
        while len(self._answers) > 1:
            self._answers.popleft()

    def hear(self, event: Json) -> None:
        self._events.append(event)

    def forget_events(self) -> None:
        """All that are kept will be told again."""
        self._events.clear()

    def press(self, key: str) -> Order | None:
        """What a key means, but for the one that ends all this."""
        self.said = ""
        if self.helping:
            self.helping = False
        elif key == "?":
            self.helping = True
        elif key in ("p", " "):
            self.paused = not self.paused
            self._events_then = tuple(self._events)
        elif key == "t":
            self.sifted = not self.sifted
            self._select_one()
        elif key in ("d", "e") and self.selected is not None:
            return Order(*self.selected, "drain" if key == "d" else "enable")
        elif key in STEPS or key in ("home", "end"):
            self._move(key)
        return None

    def _select_one(self) -> None:
        places = self.places
        if self.selected not in places:
            self.selected = places[0] if places else None

    def _move(self, key: str) -> None:
        places = self.places
        if self.selected in places:
            last = len(places) - 1
            to = {"home": 0, "end": last}.get(key, places.index(self.selected) + STEPS.get(key, 0))
            self.selected = places[min(max(to, 0), last)]

    # What is to be seen

    @property
    def status(self) -> Json:
        """The newest one."""
        return self._answers[-1]

    @property
    def events(self) -> Sequence[Json]:
        """The oldest first."""
        return self._events_then if self.paused else tuple(self._events)

    @property
    def places(self) -> list[Place]:
        """The servers to be seen, in the order of the screen."""
        return [
            (pool, server)
            for pool, each in self.status["pools"].items()
            for server, fields in each["servers"].items()
            if not (self.sifted and fields["state"] == "up")
        ]

    @property
    def connection_rate(self) -> float:
        """New connections a second."""
        return _rate(_accepted, self._answers[0], self.status)

    def byte_rate(self, key: Literal["bytes_in", "bytes_out"]) -> float:
        """Bytes a second."""
        return _rate(lambda status: status[key], self._answers[0], self.status)

    def server_rate(self, place: Place) -> float:
        """Connections a second that went to a server."""
        return _rate(lambda status: _total(status, place), self._answers[0], self.status)

    def connect_seconds(self, pool: str) -> float | None:
        """The mean of the connects that worked lately; without any, of all of them."""
        now = self.status["pools"][pool]
        then = self._answers[0]["pools"].get(pool, {"connects": 0, "connect_seconds": 0.0})
        connects, seconds = now["connects"] - then["connects"], now["connect_seconds"] - then["connect_seconds"]
        if connects <= 0:
            connects, seconds = now["connects"], now["connect_seconds"]
        return seconds / connects if connects else None


def _rate(count: Callable[[Json], float], before: Json, after: Json) -> float:
    """How fast a count grows, each second. A process that has taken over counts from nothing again."""
    seconds = seconds_between(before["timestamp"], after["timestamp"])
    return max(0.0, (count(after) - count(before)) / seconds) if seconds > 0 else 0.0


def _accepted(status: Json) -> int:
    return sum(listener["total"] for listener in status["listeners"].values())


def _total(status: Json, place: Place) -> int:
    pool, server = place
    found = status["pools"].get(pool, {"servers": {}})["servers"].get(server)
    return found["total"] if found else 0
