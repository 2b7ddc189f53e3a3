"""A connection that no server is available for, and that waits for one: ``when_all_down = "hold"``."""

from __future__ import annotations

from typing import Protocol

from lb.deadlines import DeadlineQueue
from lb.pool import Pool

__all__ = ["HeldConnection", "Holding"]


class HeldConnection(Protocol):
    """What is held."""

    def start(self) -> None:
        """Try again to get a server."""

    def held_too_long(self) -> None:
        """The time for that is over."""


class Holding:
    """Lets a connection try again when a server becomes available, and every while, until its time is over.

    The time counts from the first wait; while an attempt is under way it goes on.
    """

    __slots__ = ("_connection", "_deadline", "_pool", "_queue", "_retry")

    def __init__(
        self, connection: HeldConnection, pool: Pool, queue: DeadlineQueue, retry: DeadlineQueue, now: float
    ) -> None:
        self._connection = connection
        self._pool = pool
        self._queue = queue
        self._retry = retry
        self._deadline = now + queue.timeout
        queue.touch(self, now)

    def over(self, now: float) -> bool:
        """True if the time has passed, perhaps during an attempt."""
        return now >= self._deadline

    def wait(self, now: float) -> None:
        """Until there is a server, or reason to look for one."""
        self._pool.wait(self)
        self._retry.touch(self, now)

    def server_available(self) -> None:
        """The pool's call: try again."""
        self._retry.discard(self)
        self._connection.start()

    def expired(self, queue: DeadlineQueue) -> None:
        """Time to try again, or all the time has passed."""
        if queue is self._queue:
            self._connection.held_too_long()
        else:
            self._pool.stop_waiting(self)
            self._connection.start()

    def end(self) -> None:
        """There is a server, or no connection any more."""
        self._queue.discard(self)
        self._retry.discard(self)
        self._pool.stop_waiting(self)
