"""A file in memory, for what is too long for one object: readers send from it as from a file on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from lb.cache.write_at import write_at
from lb.net.descriptors import Descriptors

__all__ = ["MemoryFile", "Room"]


class Room(Protocol):
    """A number of bytes that several share."""

    def reserve(self, count: int) -> bool:
        """Take some. Return False if there are not so many."""

    def give_back(self, count: int) -> None:
        """Need them no more."""


class MemoryFile:
    """Implements ContentFile and BodyWriter of :mod:`lb.cache.content`. Its bytes count in the room of a store, and
    its descriptor in the budget of the process.

    Raises OSError if the process has no descriptor left.
    """

    body_at = 0
    is_slow = False

    def __init__(self, room: Room, descriptors: Descriptors) -> None:
        self.fd = os.memfd_create("lb-cache", os.MFD_CLOEXEC)
        descriptors.take(1)
        self._descriptors = descriptors
        self._room = room
        self._reserved = 0
        self._uses = 0

    def reserve(self, count: int) -> bool:
        """Make room for so many more bytes. Return False if there is none."""
        if not self._room.reserve(count):
            return False
        self._reserved += count
        return True

    def took(self, seconds: float) -> None:
        """Memory is never slow."""

    def write_later(self, at: int, data: bytes, done: Callable[[OSError | None], None]) -> None:
        """No write needs a thread."""
        write_at(self.fd, data, at)
        done(None)

    def wait_for_room(self, count: int, done: Callable[[bool], None]) -> None:  # noqa: ARG002 - none comes
        """Entries that others read take their room until these have ended."""
        done(False)

    def commit(self, length: int, done: Callable[[bool], None]) -> None:  # noqa: ARG002 - all is there
        done(True)

    def abort(self, error: OSError | None = None) -> None:
        """Nothing is left of it when its readers have ended."""

    @property
    def file(self) -> MemoryFile:
        """Itself, as what is written."""
        return self

    def acquire(self) -> None:
        self._uses += 1

    def is_removed(self) -> bool:
        return False

    def is_intact(self) -> bool:
        return True

    def warm(self, offset: int, length: int, done: Callable[[OSError | None], None]) -> None:  # noqa: ARG002
        """It may have been swapped out; the kernel reads it when it is sent."""
        done(None)

    def is_warmed(self, offset: int, length: int) -> bool:  # noqa: ARG002 - all is in memory
        return True

    def release(self) -> None:
        self._uses -= 1
        if self._uses:
            return
        os.close(self.fd)
        self._descriptors.give(1)
        self._room.give_back(self._reserved)
