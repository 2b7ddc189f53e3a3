"""A connection that no server is available for, and that waits for one: ``queue``, ``when_all_down = "hold"``."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Literal, Protocol

from lb.pool import Pool
from lb.splicing.deadlines import DeadlineQueue

if TYPE_CHECKING:
    from lb.connection_context import ConnectionContext

__all__ = ["HeldConnection", "Holding"]


class HeldConnection(Protocol):
    """What is held."""

    sock: socket.SocketType
    """The client's."""

    def start(self) -> None:
        """Try again to get a server."""

    def held_too_long(self) -> None:
        """The time for that is over."""

    def client_left(self, reason: Literal["eof", "reset"]) -> None:
        """The client has not waited."""


class Holding:
    """Lets a connection try again when a server becomes available, and every while, until its time is over.

    The time counts from the first wait; while an attempt is under way it goes on.
    """

    __slots__ = ("_connection", "_deadline", "_departures", "_pool", "_queue", "_retry")

    def __init__(
        self, connection: HeldConnection, pool: Pool, queue: DeadlineQueue, context: ConnectionContext, now: float
    ) -> None:
        self._connection = connection
        self._pool = pool
        self._queue = queue
        self._retry = context.hold_retry
        self._departures = context.departures
        self._deadline = now + queue.timeout
        queue.touch(self, now)

    def over(self, now: float) -> bool:
        """True if the time has passed, perhaps during an attempt."""
        return now >= self._deadline

    def wait(self, now: float) -> None:
        """Until there is a server, or reason to look for one."""
        self.wait_for_room()
        self._retry.touch(self, now)

    def wait_for_room(self) -> None:
        """Until a server that is full has room: the pool says so, and there is no other reason to look."""
        self._departures.watch(self._connection.sock, self._connection)
        self._pool.wait(self)

    def server_available(self) -> None:
        """The pool's call: try again."""
        self._retry.discard(self)
        self._try_again()

    def expired(self, queue: DeadlineQueue) -> None:
        """Time to try again, or all the time has passed."""
        if queue is self._queue:
            self._connection.held_too_long()
        else:
            self._pool.stop_waiting(self)
            self._try_again()

    def _try_again(self) -> None:
        self._departures.forget(self._connection.sock)
        self._connection.start()

    def end(self) -> None:
        """There is a server, or no connection any more."""
        self._queue.discard(self)
        self._retry.discard(self)
        self._departures.forget(self._connection.sock)
        self._pool.stop_waiting(self)
