"""Tables of what was parsed before.

The objects made for each header are most of the cost of parsing. Clients repeat themselves, so the result is kept with
the exact bytes as key. A table is bounded, and only what came twice enters, so that heads which are all different push
nothing out.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["MAX_INTERNED", "InternTable", "SeenOnce"]

T = TypeVar("T")

MAX_INTERNED = 2048
"""Bytes of the longest key: what is longer is rarely sent twice."""
ENTRIES = 4096
"""Maximum entries of a generation, and hashes of what came once."""
MAX_MEMORY = 4 * 1024 * 1024
"""Maximum bytes of a generation, as those say who put something in."""


class InternTable(Generic[T]):
    """A bounded table of two generations: when the young one is full, it becomes the old one, which is dropped.

    So what is in use is moved to the young generation before it is dropped, without a list in order of use.
    A generation is full by its entries or by their bytes.
    """

    def __init__(self, size_of: Callable[[T], int], entries: int = ENTRIES, max_memory: int = MAX_MEMORY) -> None:
        self.young: dict[bytes, T] = {}
        """Always the same dictionary, so that it may be asked directly. It does not know all."""
        self._old: dict[bytes, T] = {}
        self._size_of = size_of
        """Returns about how many bytes of memory a value takes, without its key."""
        self._size = 0
        self._entries = entries
        self._max_memory = max_memory

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def find(self, key: bytes) -> T | None:
        """Return the value of exactly these bytes, or None."""
        value = self.young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: T) -> None:
        """Store a value. A key of more than MAX_INTERNED bytes is not stored."""
        if len(key) > MAX_INTERNED:
            return
        if len(self.young) >= self._entries or self._size >= self._max_memory:
            self._old, self._size = self.young.copy(), 0
            self.young.clear()
        self.young[key] = value
        self._size += len(key) + self._size_of(value)


class SeenOnce:
    """Remembers the hashes of what came before, to tell what comes again. It may forget, and never grows."""

    def __init__(self, size: int = ENTRIES) -> None:
        self._hashes = array("q", bytes(8 * size))

    def again(self, key: bytes) -> bool:
        """Return True if these bytes probably came before."""
        mark, hashes = hash(key), self._hashes
        slot = mark % len(hashes)
        if hashes[slot] == mark:
            return True
        hashes[slot] = mark
        return False
