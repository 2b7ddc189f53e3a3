"""The connections that wait for a server of a pool, in the order in which they came."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from lb.counts import Count, LocalCount

__all__ = ["Line", "Waiter"]


class Waiter(Protocol):
    """A connection that waits until a server is available."""

    def server_available(self) -> None:
        """Try again now; wait again if that was in vain."""


class Line:
    """First in, first out."""

    def __init__(self) -> None:
        self.count: Count = LocalCount()
        """How many wait, in all processes. May be replaced as long as nobody does in this one."""
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()
        self._trying = False

    def __len__(self) -> int:
        """How many wait in this process."""
        return len(self._waiting)

    def join(self, waiter: Waiter) -> None:
        """Wait behind the others; fine if it does so already."""
        if waiter not in self._waiting:
            self._waiting[waiter] = None
            self.count.add(1)

    def leave(self, waiter: Waiter) -> None:
        """It has a server, or has ended; fine if it does not wait."""
        if waiter in self._waiting:
            del self._waiting[waiter]
            self.count.add(-1)

    def let_try(self, hope: Callable[[], object]) -> None:
        """Let each try once, oldest first, as long as there is ``hope()`` for them.

        A try may fail at once and release its lease, which leads back here: the outer call goes on then. Who tried in
        vain, and waits again, keeps its place.
        """
        if self._trying:
            return
        self._trying = True
        in_vain = []
        try:
            for _ in range(len(self._waiting)):
                if not (self._waiting and hope()):
                    break
                waiter = next(iter(self._waiting))
                self.leave(waiter)
                waiter.server_available()
                if waiter in self._waiting:
                    in_vain.append(waiter)
        finally:
            self._trying = False
            for waiter in reversed(in_vain):
                if waiter in self._waiting:
                    self._waiting.move_to_end(waiter, last=False)
