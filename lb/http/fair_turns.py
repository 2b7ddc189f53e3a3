"""Turns at something costly, shared fairly among clients: one that wants many delays another by one at most."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

__all__ = ["FairTurns"]


@attrs.define(eq=False)
class _Source:
    lock: trio.Lock = attrs.field(factory=trio.Lock)
    """Held by the one of this source that has a turn, or is the next to get one."""
    members: int = 0


class FairTurns:
    """At most ``most`` turns at a time, of which a source has one at most. Sources get them in rotation.

    At most ``per_source`` of a source, and ``total`` of all, wait or have a turn.
    """

    def __init__(self, most: int, *, per_source: int, total: int) -> None:
        self._turns = trio.Semaphore(most)
        self._per_source = per_source
        self._total = total
        self._members = 0
        self._sources: dict[bytes, _Source] = {}

    @property
    def full(self) -> bool:
        """No more may wait, of whatever source."""
        return self._members >= self._total

    def full_of(self, source: bytes) -> bool:
        """Return True if no more of this source may wait."""
        entry = self._sources.get(source)
        return entry is not None and entry.members >= self._per_source

    @asynccontextmanager
    async def turn(self, source: bytes) -> AsyncIterator[None]:
        """Wait for a turn, and have it within the block."""
        entry = self._sources.setdefault(source, _Source())
        entry.members += 1
        self._members += 1
        try:
            async with entry.lock, self._turns:  # both are fair, and a source is in the second line once at most
                yield
        finally:
            self._members -= 1
            entry.members -= 1
            if not entry.members:
                del self._sources[source]
