"""The state of ``lb top``. Responses, events and keys go in, orders come out. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import attrs

from lb.console.text import Json, seconds_between

__all__ = ["Order", "ServerKey", "TopView"]

RATE_SECONDS = 5.0
"""Seconds over which rates are measured."""
RATE_HISTORY = 300
"""Maximum points of the curve of new connections."""
KEPT_EVENTS = 500
"""Events kept; the balancer keeps as many."""
PAGE_ROWS = 10
"""Servers per page of page up and page down."""
CURSOR_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -PAGE_ROWS, "page down": PAGE_ROWS}

ServerKey: TypeAlias = tuple[str, str]
"""Name of a pool and of one of its servers."""


@attrs.frozen
class Order:
    """A change of a server that the operator requests."""

    pool: str
    server: str
    action: Literal["drain", "enable"]


@attrs.define
class TopView:
    """The state of the screen."""

    address: str
    """Address of the admin endpoint."""
    selected: ServerKey | None = None
    paused: bool = False
    """The screen does not change."""
    show_help: bool = False
    show_requests: bool = False
    """The requests of each listener are shown in place of the servers, if there are any."""
    only_not_up: bool = False
    """Only servers that are not up are shown."""
    lost: str = ""
    """Why the balancer does not respond; empty while it does."""
    message: str = ""
    """Result of the last order."""
    rates: deque[float] = attrs.field(factory=lambda: deque(maxlen=RATE_HISTORY))
    """New connections per second, one value per response."""
    _answers: deque[Json] = attrs.field(factory=deque)
    """Responses of the last RATE_SECONDS, newest last."""
    _events: deque[Json] = attrs.field(factory=lambda: deque(maxlen=KEPT_EVENTS))
    _paused_events: tuple[Json, ...] = ()
    """The events at the time of the pause."""

    # Input

    def update(self, status: Json) -> None:
        """Take over a new status of the balancer."""
        if self._answers:
            self.rates.append(_rate(_accepted, self._answers[-1], status))
        self._answers.append(status)
        while (
            len(self._answers) > 2
            and seconds_between(self._answers[0]["timestamp"], status["timestamp"]) > RATE_SECONDS
        ):
            self._answers.popleft()
        self.lost = ""
        self._select_one()

    def mark_lost(self, reason: str) -> None:
        """The balancer does not respond. Its counters may start at 0 when it is back."""
        self.lost = reason
        while len(self._answers) > 1:
            self._answers.popleft()

    def add_event(self, event: Json) -> None:
        """Add an event."""
        self._events.append(event)

    def clear_events(self) -> None:
        """Remove all events: the balancer sends the stored ones again."""
        self._events.clear()

    def press(self, key: str) -> Order | None:
        """Handle a key other than ``q``; return an order to carry out, if any."""
        self.message = ""
        if self.show_help:
            self.show_help = False
        elif key == "?":
            self.show_help = True
        elif key in ("p", " "):
            self.paused = not self.paused
            self._paused_events = tuple(self._events)
        elif key == "r":
            self.show_requests = not self.show_requests
        elif key == "t":
            self.only_not_up = not self.only_not_up
            self._select_one()
        elif key in ("d", "e") and self.selected is not None:
            return Order(*self.selected, "drain" if key == "d" else "enable")
        elif key in CURSOR_STEPS or key in ("home", "end"):
            self._move(key)
        return None

    def _select_one(self) -> None:
        servers = self.servers
        if self.selected not in servers:
            self.selected = servers[0] if servers else None

    def _move(self, key: str) -> None:
        servers = self.servers
        if self.selected in servers:
            last = len(servers) - 1
            to = {"home": 0, "end": last}.get(key, servers.index(self.selected) + CURSOR_STEPS.get(key, 0))
            self.selected = servers[min(max(to, 0), last)]

    # Output

    @property
    def status(self) -> Json:
        """The newest status."""
        return self._answers[-1]

    @property
    def events(self) -> Sequence[Json]:
        """The events to show, oldest first."""
        return self._paused_events if self.paused else tuple(self._events)

    @property
    def servers(self) -> list[ServerKey]:
        """The servers to show, in the order of the screen."""
        return [
            (pool, server)
            for pool, each in self.status["pools"].items()
            for server, fields in each["servers"].items()
            if not (self.only_not_up and fields["state"] == "up")
        ]

    @property
    def requests(self) -> dict[str, Json]:
        """The requests of each listener of mode ``http``."""
        listeners = self.status["listeners"].items()
        return {name: listener["requests"] for name, listener in listeners if "requests" in listener}

    @property
    def connection_rate(self) -> float:
        """New connections per second."""
        return _rate(_accepted, self._answers[0], self.status)

    def byte_rate(self, key: Literal["bytes_in", "bytes_out"]) -> float:
        """Bytes per second."""
        return _rate(lambda status: status[key], self._answers[0], self.status)

    def server_rate(self, key: ServerKey) -> float:
        """New connections of a server per second."""
        return _rate(lambda status: _total(status, key), self._answers[0], self.status)

    def connect_seconds(self, pool: str) -> float | None:
        """Mean time of the successful connects in the last seconds; if there were none, of all so far."""
        now = self.status["pools"][pool]
        then = self._answers[0]["pools"].get(pool, {"connects": 0, "connect_seconds": 0.0})
        connects, seconds = now["connects"] - then["connects"], now["connect_seconds"] - then["connect_seconds"]
        if connects <= 0:
            connects, seconds = now["connects"], now["connect_seconds"]
        return seconds / connects if connects else None


def _rate(count: Callable[[Json], float], before: Json, after: Json) -> float:
    """Return the growth of a count per second, at least 0: a successor process counts from 0."""
    seconds = seconds_between(before["timestamp"], after["timestamp"])
    return max(0.0, (count(after) - count(before)) / seconds) if seconds > 0 else 0.0


def _accepted(status: Json) -> int:
    return sum(listener["total"] for listener in status["listeners"].values())


def _total(status: Json, key: ServerKey) -> int:
    pool, server = key
    found = status["pools"].get(pool, {"servers": {}})["servers"].get(server)
    return found["total"] if found else 0
