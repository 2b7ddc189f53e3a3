"""Wake workers that hold connections when a full server has room again."""

from __future__ import annotations

import os
from collections.abc import Sequence

import trio

from lb.workers.shared_counters import SharedCounters

__all__ = ["Wakeups"]


class Wakeups:
    """Implements :class:`lb.pools.shared_pool.Holding` with a shared flag and an eventfd for each worker."""

    def __init__(self, counters: SharedCounters, index: int, fds: Sequence[int]) -> None:
        self._counters = counters
        self._index = index
        self._fds = fds

    def wait(self) -> None:
        self._counters.hold(self._index, holding=True)

    def tell(self) -> None:
        for worker in self._counters.holders():
            if worker != self._index:
                os.eventfd_write(self._fds[worker], 1)

    def wake_others(self) -> None:
        """Wake all other workers, whether or not they hold connections."""
        for worker, fd in enumerate(self._fds):
            if worker != self._index:
                os.eventfd_write(fd, 1)

    def again(self) -> None:
        os.eventfd_write(self._fds[self._index], 1)

    def over(self) -> None:
        """This process no longer holds connections."""
        self._counters.hold(self._index, holding=False)

    async def woken(self) -> None:
        """Wait until this process is woken."""
        await trio.lowlevel.wait_readable(self._fds[self._index])
        os.eventfd_read(self._fds[self._index])
