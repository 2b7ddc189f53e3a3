"""One client connection, from accept to its one record: get a server, join, and end.

The main path is :meth:`Connection.start` → :meth:`Connection.connected` → :meth:`Connection.relay_ended`. It does no
I/O of its own but to close a client that gets no server; the splicer calls back. How it gets a server is in
:mod:`lb.seeking`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs

from lb.address import Client
from lb.backend import Backend
from lb.connection_context import ConnectionContext
from lb.events import ConnectionClosed, EndedBy, Reason
from lb.explain.decision import Decision
from lb.figures import LiveConnection, LiveState
from lb.seeking import Seeking
from lb.splicing.splicer import TCP_OPTIONS, Connecting, Relay, end_with_reset
from lb.tls.layer import Clear, Layer

if TYPE_CHECKING:
    from lb.listener import Listener

__all__ = ["Connection"]


class Connection(Seeking):
    """A client and, when it has got one, its server. It ends in :meth:`_finish`, with one event, on every path."""

    __slots__ = (
        "_accepted_at",
        "_connect_ms",
        "_finished",
        "_layers",
        "_relay",
        "asks_for",
        "destination",
        "id",
        "leave_source",
        "peer",
    )

    decisions: tuple[Decision, ...] | None = None
    """Why it got its server, for those of which that is written down: :mod:`lb.explain.sampling`."""

    def __init__(self, context: ConnectionContext, listener: Listener, sock: socket.SocketType, client: Client) -> None:
        self._accepted_at = now = context.clock()
        super().__init__(context, listener, sock, client, now)
        self.id = context.next_id()
        self.peer: Client | None = None
        """Who is at the other end of it, if that is not the client itself."""
        self.destination: Client | None = None
        """Where the client connected to, if that is not the socket's own address."""
        self.leave_source: Callable[[], None] | None = None
        """Called at the end, if the client's source is counted."""
        self.asks_for: str | None = None
        """The server's name, if that decides where it goes; "" if it has named none."""
        self._layers: tuple[Layer, Layer] | None = None
        """TLS on the client's side, on the server's, or on both."""
        self._connect_ms: float | None = None
        self._relay: Relay | None = None
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
            self._state,
            (self._context.clock() - self._accepted_at) * 1000,
            self.bytes_in,
            self.bytes_out,
        )

    @property
    def _state(self) -> LiveState:
        if self._relay is not None:
            return "open"
        if self.backend is not None:
            return "connecting"
        return "held" if self._under_way is None else "greeting"

    # The greeting, on listeners that have one

    def in_task(self, run: Callable[[], Awaitable[None]]) -> None:
        """Go on in a task: it is called off when the connection ends, and a bug in it ends this connection only."""
        self._under_way = self._context.spawn(run, partial(self.close, "reset"))

    def speaks_for(self, client: Client, destination: Client) -> None:
        """Who is at the other end is a proxy, and has said for whom."""
        self.peer, self.client, self.destination = self.client, client, destination

    def secured_client(self, tls: Layer) -> None:
        """The client speaks TLS with us."""
        self._layers = (tls, Clear())

    def greeted(self) -> None:
        """All has been heard: the client may have a server, of the pool that is the right one now."""
        self._under_way = None
        self._route = self.listener.route_for(self.asks_for)
        self._pool = self._route.pool
        self._attempt_at = self._context.clock()
        self.start()

    def refuse(self, ended_by: EndedBy, reason: Reason) -> None:
        """The client gets no server."""
        self._under_way = None
        self._finish(ended_by, reason)

    # Joined

    def connected(self, server: socket.SocketType) -> None:
        """The splicer's answer to connect."""
        introduction = self._route.introduction
        if introduction is None:
            self.join(server)
        else:
            introduction.begin(self, server)

    def talk(self, server: socket.SocketType, run: Callable[[], Awaitable[None]]) -> None:
        """Introduce us to the server in a task, which has the socket for itself until it calls what is below."""
        self._context.splicer.release(server)
        self.in_task(run)
        assert self._under_way is not None  # noqa: S101 - the task is
        self._under_way = _Talk(self._under_way, server)

    def secured_server(self, tls: Layer) -> None:
        """The server speaks TLS with us."""
        self._layers = (self._layers[0] if self._layers is not None else Clear(), tls)

    def introduction_failed(self, error: OSError) -> None:
        """The server was connected to, and would not hear us: as good as a connect that failed."""
        if self._under_way is not None:
            self._under_way.cancel()
        self.connect_failed(error)

    def join(self, server: socket.SocketType) -> None:
        """The server is ready for the client's bytes."""
        backend = self.backend
        assert backend is not None  # noqa: S101 - it was connected to
        now = self._context.clock()
        self._under_way = None
        self._stop_waiting()
        self._connect_ms = (now - self._attempt_at) * 1000
        timing = backend.timing
        first_byte = None
        if timing is not None:
            timing.connect.add(now - self._attempt_at)
            first_byte = timing.first_byte
        if server.family != socket.AF_UNIX:
            for level, option in TCP_OPTIONS:
                server.setsockopt(level, option, 1)
        self._pool.connected(backend, now)
        listener = self.listener
        idle, half_close = listener.idle_queue, listener.half_close_queue
        splicer = self._context.splicer
        if self._layers is None:
            self._relay = splicer.relay(
                self.sock, server, self, idle=idle, half_close=half_close, first_byte=first_byte
            )
        else:
            self._relay = splicer.relay_layered(
                self.sock,
                server,
                self,
                layers=self._layers,
                idle=idle,
                half_close=half_close,
                first_byte=first_byte,
            )

    def relay_ended(self, ended_by: EndedBy, reason: Reason) -> None:
        """The splicer has closed both sides."""
        self._finish(ended_by, reason)

    # The end

    def server_removed(self) -> None:
        """The server has left the configuration, and its time is over. Who is still connecting tries another."""
        if self._relay is not None:
            self.close("server_removed")
        elif self._under_way is not None and self.backend is not None:
            self._under_way.cancel()
            self._attempt_failed(self.backend, OSError(errno.ECANCELED, "server removed"))
            self.start()

    def close(self, reason: Reason) -> None:
        """End it now, whatever its state: a reset to both sides, so that nothing cut short looks complete."""
        if self._finished:
            return
        if self._under_way is not None:
            self._under_way.cancel()
        if self._relay is not None:
            self._relay.close(reset=True)
        else:
            end_with_reset(self.sock)
        self._finish("lb", reason)

    def _finish(self, ended_by: EndedBy, reason: Reason) -> None:
        """The one end of every connection."""
        self._finished = True
        now = self._context.clock()
        relay, self._relay = self._relay, None
        if relay is None:
            self._stop_waiting()
            self.sock.close()
        server = self.backend.name if self.backend is not None else None
        self._release()
        if self.leave_source is not None:
            self.leave_source()
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
                self.peer,
                self.decisions,
            )
        )


@attrs.frozen
class _Talk:
    """A task that talks to a server, and the server's socket. Implements :class:`lb.splicing.splicer.Connecting`."""

    task: Connecting
    server: socket.SocketType

    def cancel(self) -> None:
        self.task.cancel()
        self.server.close()
