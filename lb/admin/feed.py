"""The last events, for those who watch: kept in a ring, so that a slow reader costs nothing."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from typing import NamedTuple

import trio

from lb.event_fields import event_fields
from lb.events import ConfigApplied, ConfigRejected, ConnectionClosed, Event, Fault, LogDropped

__all__ = ["Entry", "Feed"]

KEPT = 500
"""Events. A guess: some hours of a quiet balancer, a minute of a bad day."""


class Entry(NamedTuple):
    """An event, and its number: they count from 1."""

    number: int
    fields: dict[str, object]


class Feed:
    """An observer. It keeps all events but ``connection.closed``, of which there are too many."""

    def __init__(self) -> None:
        self.reloads = {"applied": 0, "rejected": 0}
        self.lines_dropped = 0
        """Of the log."""
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._count = 0
        self._arrived = trio.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, ConnectionClosed):
            return
        if isinstance(event, ConfigApplied | ConfigRejected):
            self.reloads["applied" if isinstance(event, ConfigApplied) else "rejected"] += 1
        elif isinstance(event, LogDropped):
            self.lines_dropped += event.lines
        fields = event_fields(event)
        if isinstance(event, Fault):
            fields = {"where": event.where, "exception": repr(event.exception)}
        timestamp = datetime.fromtimestamp(time.time(), UTC).isoformat()
        self._count += 1
        entry = Entry(self._count, {"event": event.name, "level": event.level, **fields, "timestamp": timestamp})
        self._entries.append(entry)
        self._arrived.set()
        self._arrived = trio.Event()

    def last(self, count: int) -> list[Entry]:
        """The newest ones, the oldest of them first."""
        return list(self._entries)[-count:] if count else []

    @property
    def newest(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._count

    async def next(self, after: int) -> Entry:
        """The first one that is kept of those after the one of this number; waits until there is one."""
        while self._count <= after:
            await self._arrived.wait()
        oldest = self._entries[0].number
        return self._entries[max(after + 1 - oldest, 0)]
