"""The entries in memory, within a number of bytes: the one that was used least lately goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from lb.cache.entry import CacheEntry

__all__ = ["MemoryStore"]


class MemoryStore:
    """``evicted(entry)`` is called for an entry that has to go because others need its room."""

    def __init__(self, limit: int, evicted: Callable[[CacheEntry], None]) -> None:
        self.limit = limit
        """Bytes."""
        self.used = 0
        self._evicted = evicted
        self._entries: OrderedDict[bytes, tuple[CacheEntry, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[CacheEntry]:
        """Iterate from the one used least lately."""
        return (entry for entry, _ in self._entries.values())

    def find(self, identity: bytes) -> CacheEntry | None:
        """Return an entry, which counts as used now."""
        found = self._entries.get(identity)
        if found is None:
            return None
        self._entries.move_to_end(identity)
        return found[0]

    def put(self, entry: CacheEntry) -> bool:
        """Keep an entry, in place of the one with the same identity. Return False if it is too large."""
        identity, size = entry.identity, entry.memory
        self.remove(identity)
        if size > self.limit:
            return False
        self._entries[identity] = entry, size
        self.used += size
        self.shrink()
        return True

    def reserve(self, count: int) -> bool:
        """Take room for a long body, in place of entries if need be. Implements :class:`lb.cache.memory_file.Room`."""
        self.used += count
        self.shrink()
        if self.used <= self.limit:
            return True
        self.used -= count
        return False

    def give_back(self, count: int) -> None:
        self.used -= count

    def shrink(self) -> None:
        """Let entries go until the limit holds, or none is left."""
        while self.used > self.limit and self._entries:
            _, (entry, size) = self._entries.popitem(last=False)
            self.used -= size
            self._evicted(entry)

    def remove(self, identity: bytes) -> CacheEntry | None:
        """Forget an entry, and return it."""
        entry, size = self._entries.pop(identity, (None, 0))
        self.used -= size
        return entry
