"""How workers that hold connections for a full server hear from the others that there is room."""

from __future__ import annotations

import os
from collections.abc import Sequence

import trio

from lb.workers.board import Board

__all__ = ["Nudges"]


class Nudges:
    """Implements :class:`lb.workers.shared_pool.Holding`: the board says who holds; an eventfd each wakes them."""

    def __init__(self, board: Board, index: int, fds: Sequence[int]) -> None:
        self._board = board
        self._index = index
        self._fds = fds

    def wait(self) -> None:
        self._board.hold(self._index, holding=True)

    def tell(self) -> None:
        for worker in self._board.holders():
            if worker != self._index:
                os.eventfd_write(self._fds[worker], 1)

    def tell_all(self) -> None:
        """Make all others look again, whether or not they hold connections."""
        for worker, fd in enumerate(self._fds):
            if worker != self._index:
                os.eventfd_write(fd, 1)

    def again(self) -> None:
        os.eventfd_write(self._fds[self._index], 1)

    def over(self) -> None:
        """This process holds no connections any more."""
        self._board.hold(self._index, holding=False)

    async def nudged(self) -> None:
        """Return when this process is to look again."""
        await trio.lowlevel.wait_readable(self._fds[self._index])
        os.eventfd_read(self._fds[self._index])
