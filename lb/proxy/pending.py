"""A connection that waits because no server is available: ``queue`` and ``when_all_down = "hold"``."""

from __future__ import annotations

import socket
from typing import Literal, Protocol

from lb.net.deadlines import DeadlineQueue
from lb.pools.pool import Pool
from lb.proxy.context import ConnectionContext

__all__ = ["Pending", "PendingConnection"]


class PendingConnection(Protocol):
    """A waiting connection."""

    def start(self) -> None:
        """Retry to get a server."""

    def hold_timed_out(self) -> None:
        """The hold or queue timeout has passed."""

    def client_left(self, reason: Literal["eof", "reset"]) -> None:
        """The client disconnected while it waited."""


class Pending:
    """Lets a connection retry when a server becomes available, and at intervals, until its timeout.

    The timeout counts from the first wait, and includes the time of attempts in between. ``client`` is None for what
    waits without one.
    """

    __slots__ = ("_client", "_connection", "_deadline", "_disconnects", "_pool", "_queue", "_retry")

    def __init__(
        self,
        connection: PendingConnection,
        client: socket.SocketType | None,
        pool: Pool,
        queue: DeadlineQueue,
        context: ConnectionContext,
        now: float,
    ) -> None:
        self._connection = connection
        self._client = client
        self._pool = pool
        self._queue = queue
        self._retry = context.hold_retry
        self._disconnects = context.disconnects
        self._deadline = now + queue.timeout
        queue.touch(self, now)

    def timed_out(self, now: float) -> bool:
        """Return True if the timeout has passed, perhaps during an attempt."""
        return now >= self._deadline

    def wait(self, now: float) -> None:
        """Wait for an available server or the next retry."""
        self._watch()
        self._pool.wait(self)
        self._retry.touch(self, now)

    def wait_for_slot(self) -> bool:
        """Wait until a full server has a free slot. Only the pool ends this wait. Return False if the queue is full."""
        if not self._pool.enqueue(self):
            return False
        self._watch()
        return True

    def _watch(self) -> None:
        if self._client is not None:
            self._disconnects.watch(self._client, self._connection)

    def _forget(self) -> None:
        if self._client is not None:
            self._disconnects.forget(self._client)

    def server_available(self) -> None:
        """The pool reports an available server: retry."""
        self._retry.discard(self)
        self._try_again()

    def expired(self, queue: DeadlineQueue) -> None:
        """The timeout or the retry interval has passed."""
        if queue is self._queue:
            self._connection.hold_timed_out()
        else:
            self._pool.stop_waiting(self)
            self._try_again()

    def _try_again(self) -> None:
        self._forget()
        self._connection.start()

    def end(self) -> None:
        """Stop waiting: the connection has a server or has ended."""
        self._queue.discard(self)
        self._retry.discard(self)
        self._forget()
        self._pool.stop_waiting(self)
