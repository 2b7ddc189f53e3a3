"""What waits for a disk: calls in threads, so that a slow disk holds up neither streams nor memory."""

from __future__ import annotations

import errno
import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import attrs
import trio

from lb.net.threads import Threads

__all__ = ["Disk", "DiskQueue"]

T = TypeVar("T")

_MOST_THREADS = 4
_MOST_WAITING = 128 << 20
"""Bytes that may wait to be written, of all streams. A guess: ten seconds of thirty streams of 3 Mbit/s."""


class Disk:
    """The threads that all queues share, and the bytes that wait in them. Calls are made while :meth:`run` runs."""

    def __init__(self, most_waiting: int = _MOST_WAITING) -> None:
        self.most_waiting = most_waiting
        self.waiting = 0
        """Bytes that wait to be written."""
        self.threads = Threads(_MOST_THREADS)
        self._calls = 0
        self._idle = trio.Event()
        self._ready, self._next = trio.open_memory_channel[DiskQueue](math.inf)
        """Queues whose next call may be made; each is in it once."""

    async def run(self) -> None:
        """Make the calls, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(_MOST_THREADS):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            await (await self._next.receive()).make_call()

    async def idle(self) -> None:
        """Wait until no call waits."""
        while self._calls:
            await self._idle.wait()

    def add_call(self, size: int) -> None:
        """Note a call that waits. Raises OSError if there is no room for its bytes."""
        if self.waiting + size > self.most_waiting:
            raise OSError(errno.EBUSY, f"the disk is too slow: {self.waiting >> 20} MiB wait to be written")
        self.waiting += size
        self._calls += 1

    def end_call(self, size: int) -> None:
        self.waiting -= size
        self._calls -= 1
        if not self._calls:
            self._idle.set()
            self._idle = trio.Event()

    def make_ready(self, queue: DiskQueue) -> None:
        self._ready.send_nowait(queue)


@attrs.frozen
class _Call:
    run: Callable[[], Callable[[], None]]
    """Makes the call, in a thread. Returns what is to be called with the result, in the loop."""
    size: int


class DiskQueue:
    """Calls that are made one after the other."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._calls: deque[_Call] = deque()
        """The first is being made."""

    def put(self, function: Callable[[], T], done: Callable[[T | OSError], None], size: int = 0) -> None:
        """Call a function in a thread, after those before it, and ``done`` with its result, or the OSError it raises.

        ``size``: the bytes that it holds in memory. Raises OSError if the disk has too many to write already.
        """
        self._disk.add_call(size)
        self._calls.append(_Call(partial(_result, function, done), size))
        if len(self._calls) == 1:
            self._disk.make_ready(self)

    async def make_call(self) -> None:
        """Make the next call."""
        done = await self._disk.threads.run(self._calls[0].run)
        self._disk.end_call(self._calls.popleft().size)
        if self._calls:
            self._disk.make_ready(self)
        done()


def _result(function: Callable[[], T], done: Callable[[T | OSError], None]) -> Callable[[], None]:
    try:
        return partial(done, function())
    except OSError as error:
        return partial(done, error)
