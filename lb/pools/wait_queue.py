"""The queue of connections that wait for a server of a pool, in order of arrival."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from lb.model.server import Count, LocalCount

__all__ = ["WaitQueue", "Waiter"]


class Waiter(Protocol):
    """A connection that waits for a server."""

    def server_available(self) -> None:
        """Try to get a server now, and queue again if that fails."""


class WaitQueue:
    """A first-in, first-out queue of connections."""

    def __init__(self) -> None:
        self.count: Count = LocalCount()
        """Number of queued connections in all processes. May be replaced while this process has none."""
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()
        self._trying = False

    def __len__(self) -> int:
        """Return the number of queued connections in this process."""
        return len(self._waiting)

    def join(self, waiter: Waiter) -> None:
        """Append a connection, unless it is already queued."""
        if waiter not in self._waiting:
            self._waiting[waiter] = None
            self.count.add(1)

    def leave(self, waiter: Waiter) -> None:
        """Remove a connection, if it is queued."""
        if waiter in self._waiting:
            del self._waiting[waiter]
            self.count.add(-1)

    def let_try(self, has_server: Callable[[], object]) -> None:
        """Let each connection try once, oldest first, while ``has_server()`` is true.

        A failed try may release its lease and call this method again; the outer call then continues. A connection
        that fails and queues again keeps its place.
        """
        if self._trying:
            return
        self._trying = True
        failed = []
        try:
            for _ in range(len(self._waiting)):
                if not (self._waiting and has_server()):
                    break
                waiter = next(iter(self._waiting))
                self.leave(waiter)
                waiter.server_available()
                if waiter in self._waiting:
                    failed.append(waiter)
        finally:
            self._trying = False
            for waiter in reversed(failed):
                if waiter in self._waiting:
                    self._waiting.move_to_end(waiter, last=False)
