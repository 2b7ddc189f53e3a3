"""Calls about files, which may wait for a disk: each runs in a thread, and its result comes back to the loop."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from lb.net.descriptors import Descriptors
from lb.net.threads import Threads

__all__ = ["FileCalls", "FileLoop"]

T = TypeVar("T")


class FileLoop(Protocol):
    """The loop in whose thread the results arrive."""

    @property
    def fault(self) -> Callable[[str, Exception], None]:
        """Reports a bug: where, and the exception."""

    @property
    def clock(self) -> Callable[[], float]:
        """The time in seconds."""

    def spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a task beside the loop. It does not raise."""


class FileCalls:
    """The calls of one purpose, such as a directory. ``name`` says in faults what they are for."""

    def __init__(self, loop: FileLoop, descriptors: Descriptors, threads: Threads, name: str) -> None:
        self.descriptors = descriptors
        self._loop = loop
        self._threads = threads
        self._name = name

    def now(self) -> float:
        return self._loop.clock()

    def call(
        self,
        function: Callable[[], T],
        done: Callable[[T | OSError], None],
        dispose: Callable[[T], None] | None = None,
    ) -> None:
        """Call a function in a thread, and ``done`` with what it returns, or the OSError that it raises.

        If it takes longer than the threads may, ``done`` gets a TimeoutError, and ``dispose`` what it returns at last.
        """
        self._loop.spawn(partial(self._call, function, done, dispose))

    async def _call(
        self, function: Callable[[], T], done: Callable[[T | OSError], None], dispose: Callable[[T], None] | None
    ) -> None:
        fault = self._loop.fault
        result: T | OSError
        try:
            result = await self.run(function, dispose)
        except OSError as error:
            result = error
        except Exception as exception:  # noqa: BLE001 - a bug: who waits is told
            fault(self._name, exception)
            result = OSError(errno.EIO, os.strerror(errno.EIO))
        try:
            done(result)
        except Exception as exception:  # noqa: BLE001 - a bug in one request must not reach another
            fault(self._name, exception)

    async def run(self, function: Callable[[], T], dispose: Callable[[T], None] | None = None) -> T:
        """Call a function in a thread and return its result. Raises what it raises, and TimeoutError (see ``call``)."""
        if dispose is None:
            return await self._threads.run(function)
        handed = _Handed(function, dispose)
        try:
            return await self._threads.run(handed)
        except BaseException:
            handed.give_up()
            raise

    def close(self, fd: int) -> None:
        """Close the descriptor of a file; in a thread if that frees the blocks of a deleted one, which takes time."""
        self.descriptors.give(1)
        if os.fstat(fd).st_nlink:
            os.close(fd)
        else:
            self.call(partial(os.close, fd), lambda _: None)


class _Handed(Generic[T]):
    """A call whose result must not be lost, also if nobody waits for it any more: who comes second disposes of it."""

    def __init__(self, function: Callable[[], T], dispose: Callable[[T], None]) -> None:
        self._function = function
        self._dispose = dispose
        self._results: list[T] = []
        self._first = [None]

    def __call__(self) -> T:
        result = self._function()
        self._results.append(result)
        if not self._is_first():
            self._dispose(result)
        return result

    def give_up(self) -> None:
        if not self._is_first():
            for result in self._results:
                self._dispose(result)

    def _is_first(self) -> bool:
        try:
            self._first.pop()  # one operation: of two threads, one gets it
        except IndexError:
            return False
        return True
