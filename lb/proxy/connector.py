"""The connector: pick a server for a client, connect, do the server handshake; on failure retry, hold or queue.

Nothing has been read from the client's stream yet, so a retry has nothing to replay. Every mode connects to its servers
through a :class:`Connector`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Literal, Protocol

from lb.events import Attempt, EndedBy, Reason
from lb.model.address import SocketAddress
from lb.net.deadlines import DeadlineQueue
from lb.net.errors import describe_error, is_local_error
from lb.pools.backend import Backend
from lb.proxy.context import ConnectionContext
from lb.proxy.pending import Pending
from lb.proxy.proxy_tlvs import ProxiedClient
from lb.proxy.route import Route
from lb.relay.splicer import Connecting, Handshake
from lb.tls.layer import Tls

__all__ = ["OWN_LISTENER", "Connector", "ConnectorOwner"]

OWN_LISTENER = "it is a listener of this process"
"""The error of a connect to an address on which this process listens: the connection would come back."""

MOST_ATTEMPTS = 20
"""Maximum failed attempts kept for the log record. The latest are kept, because a held connection may make many."""


class ConnectorOwner(ProxiedClient, Protocol):
    """A client that needs a server."""

    @property
    def watched(self) -> socket.SocketType | None:
        """The client's socket: its disconnect is detected while it waits for a server. None: nobody waits."""

    def connected(self, server: socket.SocketType, tls: Tls | None) -> None:
        """A server is ready for the client's bytes, through ``tls`` if it speaks TLS."""

    def no_server(self, ended_by: EndedBy, reason: Reason) -> None:
        """The client gets no server."""

    def failed(self) -> None:
        """The server handshake raised because of a bug: end with a reset."""


class Connector:
    """Connects its owner to a server, and holds the lease on the server until :meth:`release`.

    ``now`` is the start of the first attempt. ``reuse`` is asked about each server that the connector picks: if it uses
    a kept connection to it, it calls :meth:`hand_over` and returns True, and there is no connect.
    """

    __slots__ = (
        "_addresses_left",
        "_attempt_at",
        "_context",
        "_deadline_queue",
        "_in_progress",
        "_pending",
        "_reuse",
        "_round",
        "_route",
        "_server",
        "_target",
        "_tried",
        "attempts",
        "backend",
        "connect_ms",
        "owner",
        "pool",
        "speaks_for_others",
    )

    def __init__(
        self,
        context: ConnectionContext,
        route: Route,
        owner: ConnectorOwner,
        now: float,
        reuse: Callable[[Backend], bool] | None = None,
    ) -> None:
        self.owner = owner
        self.pool = route.pool
        self.backend: Backend | None = None
        """The leased server."""
        self.attempts: tuple[Attempt, ...] = ()
        """Failed attempts."""
        self.connect_ms: float | None = None
        """Duration of the successful attempt in milliseconds, including the handshake."""
        self.speaks_for_others = False
        """As in :class:`lb.proxy.server_handshake.Handshaking`."""
        self._context = context
        self._route = route
        self._attempt_at = now
        self._reuse = reuse
        self._tried: tuple[Backend, ...] = ()
        self._round = 0
        """Failed attempts since the start or since the last hold."""
        self._pending: Pending | None = None
        self._target: SocketAddress | None = None
        self._addresses_left = 0
        """Addresses of the server that this attempt has not tried yet."""
        self._in_progress: Connecting | None = None
        """The connect or handshake in progress."""
        self._server: socket.SocketType | None = None
        """The connected socket, until it has keep-alive."""
        self._deadline_queue: DeadlineQueue | None = None
        """The queue of the attempt's deadline."""

    def pick(self) -> Backend | None:
        """Pick the next server and acquire a lease on it. Return None if none is available."""
        return self.pool.pick(self.owner.client, self._tried)

    def start(self, picked: Backend | None = None) -> None:
        """Connect to the server that the strategy picks. On failure try the next, within the pool's retries.

        ``picked``: a server that was picked already. The connector gets the lease on it.
        """
        spec = self.pool.spec
        while self._round <= spec.retries:
            self.backend = backend = picked or self.pick()
            if backend is None:
                self._none_available()
                return
            if self._reuse is not None and picked is None and self._reuse(backend):
                return
            picked = None
            if self.attempts or self._pending:  # the first attempt began at ``now``
                self._attempt_at = self._context.clock()
            self._addresses_left = len(backend.targets)
            failure = self._connect(backend)
            if failure is None:
                self._deadline_queue = self._route.connect_queue
                self._deadline_queue.enter(self, self._attempt_at)
                return
            self._attempt_failed(backend, failure)
        if spec.when_all_down == "hold":
            self._none_available()
        else:
            self.owner.no_server("lb", "connect_failed")

    def _connect(self, backend: Backend) -> OSError | None:
        """Start to connect to the server's first address that does not fail at once. Return the error if all fail."""
        failure = None
        while self._addresses_left and backend.targets:
            self._addresses_left -= 1
            self._target = backend.targets[0]
            if backend.own and self._target in backend.own:
                failure = OSError(OWN_LISTENER)
                backend.try_next_address(self._target)
                continue
            try:
                connect = self._context.splicer.connect if self._route.plain else self._begin
                self._in_progress = connect(self._target, self)
            except OSError as error:
                failure = error
                backend.try_next_address(self._target)
            else:
                return None
        return failure or OSError(f"cannot look up {backend.spec.address.host}")

    def _begin(self, target: SocketAddress, owner: Connector) -> Connecting:
        """Start to connect over a route that is not plain. Raises OSError."""
        route = self._route
        if route.same_port:
            target = _on_port_of(self.owner.sock, target)
        return self._context.splicer.connect(target, owner, route.outgoing)

    # Callbacks of the splicer

    def connected(self, server: socket.SocketType) -> None:
        handshake = self._route.handshake
        if handshake is None:
            self.ready(server)
        else:
            handshake.begin(self, server)

    def connect_failed(self, error: OSError) -> None:
        """Try the server's next address, or the next server."""
        backend = self.backend
        assert backend is not None and self._target is not None  # noqa: S101, PT018 - a connect was in progress
        backend.try_next_address(self._target)
        failure: OSError | None = error
        if self._addresses_left and error.errno != errno.ETIMEDOUT:
            failure = self._connect(backend)
        if failure is not None:
            self._attempt_failed(backend, failure)
            self.start()

    def expired(self, queue: DeadlineQueue) -> None:
        """The attempt timed out, or the connection has lasted long enough for keep-alive."""
        if queue is self._route.keepalive_queue:
            server, self._server = self._server, None
            if server is not None and server.fileno() >= 0:
                for level, option, value in self._route.keepalive_options:
                    server.setsockopt(level, option, value)
            return
        if self._in_progress is not None:
            self._in_progress.cancel()
        self.connect_failed(TimeoutError(errno.ETIMEDOUT, "timed out"))

    def _attempt_failed(self, backend: Backend, error: OSError) -> None:
        now = self._context.clock()
        text = describe_error(error)
        self.note_failure(backend, text, self._attempt_at)
        self._in_progress = None
        if self._deadline_queue is not None:
            self._deadline_queue.discard(self)
        self.release()
        if not (self.speaks_for_others or is_local_error(error)):
            self.pool.connect_failed(backend, text, now)
        self.speaks_for_others = False

    def note_failure(self, backend: Backend, text: str, since: float, kind: type[Attempt] = Attempt) -> None:
        """Record a failed attempt that began at ``since``: the next one goes to another server."""
        attempt = kind(backend.name, text, (self._context.clock() - since) * 1000)
        self.attempts = (*self.attempts, attempt)[-MOST_ATTEMPTS:]
        self._tried += (backend,)
        self._round += 1

    @property
    def tried(self) -> tuple[Backend, ...]:
        """The servers that have failed."""
        return self._tried

    @property
    def retries_left(self) -> bool:
        """True if another server may be tried."""
        return self._round < self.pool.spec.retries

    def hand_over(self) -> Backend:
        """Give the lease to the owner, once connected; keep-alive is the owner's, too. It may be started again."""
        backend, self.backend = self.backend, None
        assert backend is not None  # noqa: S101 - it is connected
        self._stop_waiting()
        self._forget_server()
        return backend

    # The handshake. Implements lb.proxy.server_handshake.Handshaking

    def handshake(self, server: socket.SocketType, handshake: Handshake) -> None:
        self._in_progress = self._context.splicer.handshake(server, handshake)

    def failed(self) -> None:
        self.owner.failed()

    def handshake_failed(self, error: OSError) -> None:
        """The server handshake failed: treat it like a failed connect."""
        if self._in_progress is not None:
            self._in_progress.cancel()
        self.connect_failed(error)

    def ready(self, server: socket.SocketType, tls: Tls | None = None) -> None:
        """The server is ready for the client's bytes."""
        backend = self.backend
        assert backend is not None  # noqa: S101 - a connect was in progress
        now = self._context.clock()
        self._in_progress = None
        self._stop_waiting()
        self.connect_ms = (now - self._attempt_at) * 1000
        if backend.timing is not None:
            backend.timing.connect.add(now - self._attempt_at)
        if server.family != socket.AF_UNIX:
            for level, option, value in self._route.socket_options:
                server.setsockopt(level, option, value)
            if self._route.keepalive_queue is not None:
                self._server = server
                self._route.keepalive_queue.enter(self, now)
        self.pool.connected(backend, now)
        self.owner.connected(server, tls)

    # No server available

    def _none_available(self) -> None:
        """All servers are down, ejected, draining, full or already tried: queue, hold or end the connection."""
        queued = self._round <= self.pool.spec.retries and self.pool.may_queue(self._tried)
        if not queued and self.pool.spec.when_all_down != "hold":
            self._refuse()
            return
        now = self._context.clock()
        if self._pending is None:
            queue = self._route.full_queue if queued else self._route.hold_queue
            self._pending = Pending(self, self.owner.watched, self.pool, queue, self._context, now)
        elif self._pending.timed_out(now):
            self.owner.no_server("lb", "hold_timeout")
            return
        if queued and self._pending.wait_for_slot():
            return
        if self.pool.spec.when_all_down != "hold":
            self._refuse()
            return
        self._round = 0
        self._tried = ()
        self._pending.wait(now)

    def _refuse(self) -> None:
        self.owner.no_server("lb", "connect_failed" if self.attempts else "no_server")

    def hold_timed_out(self) -> None:
        """The hold timed out. An attempt in progress continues and is the last."""
        if self._in_progress is None:
            self.owner.no_server("lb", "hold_timeout")

    def client_left(self, reason: Literal["eof", "reset"]) -> None:
        """The client disconnected while it waited for a server."""
        self.owner.no_server("client", reason)

    # The end

    def server_removed(self) -> None:
        """The server was removed from the configuration: if the attempt is still in progress, try another server."""
        if self._in_progress is not None and self.backend is not None:
            self._in_progress.cancel()
            self._attempt_failed(self.backend, OSError(errno.ECANCELED, "server removed"))
            self.start()

    def cancel(self) -> None:
        """Stop connecting, without further calls to the owner. The lease stays until :meth:`release`."""
        if self._in_progress is not None:
            self._in_progress.cancel()
            self._in_progress = None
        self._stop_waiting()

    def release(self) -> None:
        """Release the lease, if there is one."""
        backend, self.backend = self.backend, None
        if backend is not None:
            self.pool.release(backend)
        self._forget_server()

    def _forget_server(self) -> None:
        if self._server is not None:
            self._server = None
            assert self._route.keepalive_queue is not None  # noqa: S101 - where it waits
            self._route.keepalive_queue.discard(self)

    def _stop_waiting(self) -> None:
        if self._deadline_queue is not None:
            self._deadline_queue.discard(self)
        if self._pending is not None:
            self._pending.end()


def _on_port_of(client: socket.SocketType, target: SocketAddress) -> SocketAddress:
    """Return a server's address with the port that the client came to, if it has none of its own."""
    family, address = target
    if isinstance(address, tuple) and not address[1]:
        return family, (address[0], client.getsockname()[1], *address[2:])
    return target
