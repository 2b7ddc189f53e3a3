"""Tables of what was parsed before.

The objects made for each header are most of the cost of parsing. Clients repeat themselves, so the result is kept with
the exact bytes as key. A table is bounded, and only what came twice enters, so that heads which are all different push
nothing out.
"""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["MAX_INTERNED", "InternTable", "SeenOnce"]

T = TypeVar("T")

MAX_INTERNED = 2048
"""Bytes of the longest key: what is longer is rarely sent twice."""
ENTRIES = 4096
"""Maximum entries of a generation, and hashes of what came once."""


class InternTable(Generic[T]):
    """A bounded table of two generations: when the young one is full, it becomes the old one, which is dropped.

    So what is in use is moved to the young generation before it is dropped, without a list in order of use.
    """

    def __init__(self, entries: int = ENTRIES) -> None:
        self.young: dict[bytes, T] = {}
        self._old: dict[bytes, T] = {}
        self._entries = entries

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
        if len(self.young) >= self._entries:
            self._old, self.young = self.young, {}
        self.young[key] = value


class SeenOnce:
    """Remembers the hashes of what came before, to tell what comes again. It may forget, and never grows."""

    def __init__(self, size: int = ENTRIES) -> None:
        self._hashes = [0] * size

    def __call__(self, key: bytes) -> bool:
        """Return True if these bytes probably came before."""
        mark = hash(key)
        slot = mark % len(self._hashes)
        if self._hashes[slot] == mark:
            return True
        self._hashes[slot] = mark
        return False
