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
        self._variants: dict[bytes, set[bytes]] = {}
        """The identities of the variants and slices of a key, where it has some."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[CacheEntry]:
        """Iterate from the one used least lately."""
        return (entry for entry, _ in self._entries.values())

    def entries(self) -> Iterator[CacheEntry]:
        """Iterate over the entries of this moment, from the one used least lately, while others come and go."""
        left = [*reversed(self._entries.values())]
        while left:
            yield left.pop()[0]  # a list of all would free those that have gone at its end, at once

    def of_key(self, key: bytes) -> list[CacheEntry]:
        """Return the entries with a key: one, or its variants and slices."""
        found = (self._entries.get(identity) for identity in (key, *self._variants.get(key, ())))
        return [each[0] for each in found if each is not None]

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
        if identity != entry.key:
            self._variants.setdefault(entry.key, set()).add(identity)
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
            identity, (entry, size) = self._entries.popitem(last=False)
            self.used -= size
            self._forget_variant(entry, identity)
            self._evicted(entry)

    def remove(self, identity: bytes) -> CacheEntry | None:
        """Forget an entry, and return it."""
        entry, size = self._entries.pop(identity, (None, 0))
        self.used -= size
        if entry is not None:
            self._forget_variant(entry, identity)
        return entry

    def _forget_variant(self, entry: CacheEntry, identity: bytes) -> None:
        if identity != entry.key:
            variants = self._variants[entry.key]
            variants.remove(identity)
            if not variants:
                del self._variants[entry.key]
