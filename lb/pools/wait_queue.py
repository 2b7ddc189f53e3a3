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
        self._retrying: Waiter | None = None
        """The connection that tries at this moment. Its place stays counted, so that no other process takes it."""

    def __len__(self) -> int:
        """Return the number of queued connections in this process."""
        return len(self._waiting)

    def has_room(self, most: int) -> bool:
        """Return whether fewer than ``most`` connections have a place, not counting the one that tries now."""
        return self.count.total - (self._retrying is not None) < most

    def join(self, waiter: Waiter) -> None:
        """Append a connection, unless it is already queued."""
        if waiter in self._waiting:
            return
        self._waiting[waiter] = None
        if waiter is self._retrying:
            self._retrying = None
        else:
            self.count.add(1)

    def join_within(self, most: int, waiter: Waiter) -> bool:
        """Append a connection, or return False if another process has taken the last of ``most`` places meanwhile.

        Of processes that join at the same moment each may see the other: both then return False.
        """
        self.join(waiter)
        if self.count.total <= most:
            return True
        self.leave(waiter)
        return False

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
                self._retrying = waiter = self._waiting.popitem(last=False)[0]
                waiter.server_available()
                if waiter in self._waiting:
                    failed.append(waiter)
                self._retried()
        finally:
            self._retried()
            self._trying = False
            for waiter in reversed(failed):
                if waiter in self._waiting:
                    self._waiting.move_to_end(waiter, last=False)

    def _retried(self) -> None:
        if self._retrying is not None:
            self._retrying = None
            self.count.add(-1)
