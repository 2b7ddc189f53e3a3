"""The last events, for event streams. They are kept in a ring buffer, so that a slow reader costs nothing."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from typing import NamedTuple

import trio

from lb.events import ConfigApplied, ConfigRejected, ConnectionClosed, Event, Fault, HttpRequest, LogDropped
from lb.events.fields import event_fields
from lb.model.printable import shortened

__all__ = ["Entry", "Feed"]

NOT_KEPT = (ConnectionClosed, HttpRequest)
"""Events that are not kept: one for each connection or request."""
MAX_EVENTS = 500
"""Maximum events kept. An estimate: some hours of a quiet balancer, a minute of one in trouble."""

MAX_TEXT = 300
"""Maximum characters of a text of a kept event. The log has all of it."""
MAX_ITEMS = 20
"""Maximum entries of a list of a kept event."""


class Entry(NamedTuple):
    """An event and its number, counted from 1."""

    number: int
    fields: dict[str, object]


class Feed:
    """An observer that keeps all events but NOT_KEPT and those at debug."""

    def __init__(self) -> None:
        self.reloads = {"applied": 0, "rejected": 0}
        self.lines_dropped = 0
        """Dropped lines of the log."""
        self.readers = 0
        """Open event streams."""
        self._entries: deque[Entry] = deque(maxlen=MAX_EVENTS)
        self._count = 0
        self._arrived = trio.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, NOT_KEPT) or event.level == "debug":
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
        fields = {key: _shortened(value) for key, value in fields.items()}
        entry = Entry(self._count, {"event": event.name, "level": event.level, **fields, "timestamp": timestamp})
        self._entries.append(entry)
        self._arrived.set()
        self._arrived = trio.Event()

    def last(self, count: int) -> list[Entry]:
        """Return the newest ``count`` events, oldest first."""
        return list(self._entries)[-count:] if count else []

    @property
    def newest(self) -> int:
        """Number of the last event; 0 before the first."""
        return self._count

    async def next(self, after: int) -> Entry:
        """Return the first kept event after number ``after``; wait until there is one."""
        while self._count <= after:
            await self._arrived.wait()
        oldest = self._entries[0].number
        return self._entries[max(after + 1 - oldest, 0)]


def _shortened(value: object) -> object:
    """Return a value of an event in bounded size. Events have texts, numbers, and lists of texts."""
    if isinstance(value, str):
        return shortened(value, MAX_TEXT)
    if not isinstance(value, tuple | list):
        return value
    items = [_shortened(item) for item in value[:MAX_ITEMS]]
    return items if len(value) <= MAX_ITEMS else [*items[:-1], f"and {len(value) - MAX_ITEMS + 1} more"]
