"""A system file that may change at any time, and is read in a thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import trio

from lb.net.shared_calls import SharedCalls
from lb.net.threads import Threads

__all__ = ["WatchedFile"]

T = TypeVar("T")

LOOK_AGAIN = 1.0
"""Seconds until the file is looked at again, once somebody asks."""

Version: TypeAlias = tuple[int, ...]
"""What differs if the file was written or replaced; empty if there is none."""


class WatchedFile(Generic[T]):
    """The contents of a file as ``read`` returns them. A file that has not changed is not read again.

    ``read`` runs in one of ``threads``.
    """

    def __init__(self, path: Path, read: Callable[[Path], T], threads: Threads) -> None:
        self._path = path
        self._read = read
        self._threads = threads
        self._kept: tuple[Version, T] | None = None
        self._fresh_until = -math.inf
        self._looks: SharedCalls[Path, T] = SharedCalls()

    async def contents(self) -> T:
        """Return the contents, at most LOOK_AGAIN seconds old. Raises what ``read`` raises."""
        if self._kept is not None and trio.current_time() < self._fresh_until:
            return self._kept[1]
        return await self._looks.run(self._path, self._look)

    async def _look(self) -> T:
        kept = self._kept = await self._threads.run(self._read_if_changed, self._kept)
        self._fresh_until = trio.current_time() + LOOK_AGAIN
        return kept[1]

    def _read_if_changed(self, kept: tuple[Version, T] | None) -> tuple[Version, T]:
        version = self._version()  # before the read: a write after it is seen the next time
        return kept if kept is not None and kept[0] == version else (version, self._read(self._path))

    def _version(self) -> Version:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return ()
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
