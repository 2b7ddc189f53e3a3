"""One client connection, from accept to its one record: pick a server, connect, retry, join, and end.

The main path is :meth:`Connection.start` → :meth:`Connection.connected` → :meth:`Connection.relay_ended`. It does no
I/O of its own but to close a client that gets no server; the splicer calls back.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NamedTuple

from lb.address import Client, SocketAddress
from lb.backend import Backend
from lb.connection_context import ConnectionContext
from lb.deadlines import DeadlineQueue
from lb.errors import EXHAUSTED, describe_error
from lb.events import Attempt, ConnectionClosed, EndedBy, Reason
from lb.figures import LiveConnection
from lb.pool import Pool
from lb.splicer import TCP_OPTIONS, Connecting, Relay, end_with_reset

if TYPE_CHECKING:
    from lb.listener import Listener

__all__ = ["Connection"]

MOST_ATTEMPTS = 20
"""Failed attempts kept for the record, the latest: a held connection may make many."""
LOCAL_ERRORS = EXHAUSTED | {errno.EADDRNOTAVAIL, errno.EACCES, errno.ECANCELED}
"""Connect errors that say nothing about the server: this host is out of something, or forbids it. From connect(2)."""


class Connection:
    """A client and, when it has got one, its server. It ends in :meth:`_finish`, with one event, on every path."""

    __slots__ = (
        "_accepted_at",
        "_addresses_left",
        "_attempt_at",
        "_attempts",
        "_connect_ms",
        "_connecting",
        "_context",
        "_finished",
        "_hold",
        "_pool",
        "_relay",
        "_round",
        "_sock",
        "_target",
        "_tried",
        "_wait",
        "backend",
        "client",
        "id",
        "listener",
    )

    def __init__(self, context: ConnectionContext, listener: Listener, sock: socket.SocketType, client: Client) -> None:
        self.id = context.next_id()
        self.listener = listener
        self.client = client
        self.backend: Backend | None = None
        """The server that it holds a lease on."""
        self._context = context
        self._pool: Pool = listener.pool
        self._sock = sock
        self._accepted_at = self._attempt_at = context.clock()
        self._attempts: tuple[Attempt, ...] = ()
        self._tried: tuple[Backend, ...] = ()
        self._round = 0
        """Failed attempts since the start, or since it was last held."""
        self._hold: Hold | None = None
        self._target: SocketAddress | None = None
        self._addresses_left = 0
        """Of the server's, not tried yet in this attempt."""
        self._connect_ms: float | None = None
        self._connecting: Connecting | None = None
        self._relay: Relay | None = None
        self._wait: DeadlineQueue | None = None
        """Where the connect's deadline is kept."""
        self._finished = False
        context.open.add(self)

    @property
    def server(self) -> Backend | None:
        """The server that it is joined to; None before and after."""
        return self.backend if self._relay is not None else None

    @property
    def bytes_in(self) -> int:
        return self._relay.bytes_in if self._relay is not None else 0

    @property
    def bytes_out(self) -> int:
        return self._relay.bytes_out if self._relay is not None else 0

    def live(self) -> LiveConnection:
        """What there is to say about it now, while it is open."""
        return LiveConnection(
            self.id,
            self.listener.spec.name,
            self._pool.name,
            self.backend.name if self.backend is not None else None,
            str(self.client),
            "open" if self._relay is not None else "connecting" if self._hold is None or self._connecting else "held",
            (self._context.clock() - self._accepted_at) * 1000,
            self.bytes_in,
            self.bytes_out,
        )

    # Getting a server

    def start(self) -> None:
        """Connect to the strategy's choice; on failure to the next, within the pool's retries."""
        while self._round <= self._pool.spec.retries:
            backend = self._pool.pick(self.client, self._tried)
            if backend is None:
                self._none_available()
                return
            self.backend = backend
            if self._attempts or self._hold:  # else it was accepted just now
                self._attempt_at = self._context.clock()
            self._addresses_left = len(backend.targets)
            failure = self._connect(backend)
            if failure is None:
                self._wait = self.listener.connect_queue
                self._wait.enter(self, self._attempt_at)
                return
            self._attempt_failed(backend, failure)
        if self._pool.spec.when_all_down == "hold":
            self._none_available()
        else:
            self._finish("lb", "connect_failed")

    def _connect(self, backend: Backend) -> OSError | None:
        """Begin to connect to the first of the server's addresses that does not fail at once; the error if all do."""
        failure = None
        while self._addresses_left and backend.targets:
            self._addresses_left -= 1
            self._target = backend.targets[0]
            try:
                self._connecting = self._context.splicer.connect(self._target, self)
            except OSError as error:
                failure = error
                backend.turn_from(self._target)
            else:
                return None
        return failure or OSError(f"cannot look up {backend.spec.address.host}")

    def connected(self, server: socket.SocketType) -> None:
        """The splicer's answer to connect: join the two."""
        backend = self.backend
        assert backend is not None  # noqa: S101 - it was connected to
        now = self._context.clock()
        self._connecting = None
        self._stop_waiting()
        self._connect_ms = (now - self._attempt_at) * 1000
        if server.family != socket.AF_UNIX:
            for level, option in TCP_OPTIONS:
                server.setsockopt(level, option, 1)
        self._pool.connected(backend, now)
        listener = self.listener
        self._relay = self._context.splicer.relay(
            self._sock, server, self, idle=listener.idle_queue, half_close=listener.half_close_queue
        )

    def connect_failed(self, error: OSError) -> None:
        """The splicer's other answer: try the server's next address, or the next server."""
        backend = self.backend
        assert backend is not None and self._target is not None  # noqa: S101, PT018 - they were connected to
        backend.turn_from(self._target)
        failure: OSError | None = error
        if self._addresses_left and error.errno != errno.ETIMEDOUT:
            failure = self._connect(backend)
        if failure is not None:
            self._attempt_failed(backend, failure)
            self.start()

    def _attempt_failed(self, backend: Backend, error: OSError) -> None:
        now = self._context.clock()
        text = describe_error(error)
        attempt = Attempt(backend.name, text, (now - self._attempt_at) * 1000)
        self._attempts = (*self._attempts, attempt)[-MOST_ATTEMPTS:]
        self._tried += (backend,)
        self._round += 1
        self._connecting = None
        if self._wait is not None:
            self._wait.discard(self)
        self._release()
        if error.errno not in LOCAL_ERRORS:
            self._pool.connect_failed(backend, text, now)

    def _release(self) -> None:
        """The one place where a lease is given back."""
        backend, self.backend = self.backend, None
        if backend is not None:
            self._pool.release(backend)

    # Having none

    def _none_available(self) -> None:
        """Down, ejected, draining, full or tried: the pool's policy decides."""
        if self._pool.spec.when_all_down != "hold":
            self._finish("lb", "no_server")
            return
        now = self._context.clock()
        if self._hold is None:
            self._hold = Hold(self.listener.hold_queue, now)
            self._hold.queue.touch(self, now)
        elif now >= self._hold.deadline:
            self._finish("lb", "hold_timeout")
            return
        self._round = 0
        self._tried = ()
        self._pool.wait(self)
        self._context.hold_retry.touch(self, now)

    def server_available(self) -> None:
        """The pool's call to a held connection: try again."""
        self._context.hold_retry.discard(self)
        self.start()

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.discard(self)
        if self._hold is not None:
            self._hold.queue.discard(self)
            self._context.hold_retry.discard(self)
            self._pool.stop_waiting(self)

    # The end

    def expired(self, queue: DeadlineQueue) -> None:
        """A deadline passed on the way to a server."""
        if queue.kind == "connect":
            if self._connecting is not None:
                self._connecting.cancel()
            self.connect_failed(TimeoutError(errno.ETIMEDOUT, "timed out"))
        elif queue.kind == "hold":
            if self._connecting is None:  # else the last attempt may still work; if not, this deadline is looked at
                self._finish("lb", "hold_timeout")
        else:
            self._pool.stop_waiting(self)
            self.start()

    def relay_ended(self, ended_by: EndedBy, reason: Reason) -> None:
        """The splicer has closed both sides."""
        self._finish(ended_by, reason)

    def server_removed(self) -> None:
        """The server has left the configuration, and its time is over. Who is still connecting tries another."""
        if self._relay is not None:
            self.close("server_removed")
        elif self._connecting is not None and self.backend is not None:
            self._connecting.cancel()
            self._attempt_failed(self.backend, OSError(errno.ECANCELED, "server removed"))
            self.start()

    def close(self, reason: Reason) -> None:
        """End it now, whatever its state: a reset to both sides, so that nothing cut short looks complete."""
        if self._finished:
            return
        if self._connecting is not None:
            self._connecting.cancel()
        if self._relay is not None:
            self._relay.close(reset=True)
        else:
            end_with_reset(self._sock)
        self._finish("lb", reason)

    def _finish(self, ended_by: EndedBy, reason: Reason) -> None:
        """The one end of every connection."""
        self._finished = True
        now = self._context.clock()
        relay, self._relay = self._relay, None
        if relay is None:
            self._stop_waiting()
            self._sock.close()
        server = self.backend.name if self.backend is not None else None
        self._release()
        self._context.closed(self)
        self.listener.connection_closed()
        self._context.sink(
            ConnectionClosed(
                self.id,
                self.listener.spec.name,
                self._pool.name,
                server,
                self.client,
                self._attempts,
                self._connect_ms,
                (now - self._accepted_at) * 1000,
                relay.bytes_in if relay is not None else 0,
                relay.bytes_out if relay is not None else 0,
                ended_by,
                reason,
            )
        )


class Hold(NamedTuple):
    """How long a connection waits for a server: a queue, and when it entered."""

    queue: DeadlineQueue
    since: float

    @property
    def deadline(self) -> float:
        return self.since + self.queue.timeout
