"""A client connection of mode ``tcp``, from accept to its log record: connect to a server, relay, end.

The main path is :meth:`Connection.start` → :meth:`Connection.connected` → :meth:`Connection.relay_ended`. The only I/O
here is to close a client that gets no server. The splicer does the rest and calls back. :mod:`lb.proxy.connector`
connects to a server.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import ClassVar

from lb.events import Attempt, ConnectionClosed, EndedBy, Reason
from lb.model.address import Client
from lb.model.connection import LiveConnection, LiveState
from lb.model.decision import Decision
from lb.net.tcp import end_with_reset
from lb.pools.backend import Backend
from lb.proxy.connector import Connector
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route
from lb.relay.splicer import Handshake, Relay, RunningHandshake
from lb.tcp.frontend import Frontend
from lb.tls.layer import Tls

__all__ = ["Connection"]


class Connection:
    """A client and, once connected, its server. Every path ends in :meth:`_finish`, with one event.

    Implements :class:`lb.proxy.downstream.Downstream` for the listener's filters,
    :class:`lb.proxy.downstream.OpenConnection` for the process, :class:`lb.proxy.connector.ConnectorOwner` and
    :class:`lb.relay.splicer.RelayOwner`.
    """

    __slots__ = (
        "_connector",
        "_context",
        "_finished",
        "_frontend",
        "_handshake",
        "_on_close",
        "_peer",
        "_relay",
        "_route",
        "accepted_at",
        "client",
        "destination",
        "id",
        "server_name",
        "sock",
        "tls",
        "tlvs",
    )

    new_connector: ClassVar[type[Connector]] = Connector
    decisions: tuple[Decision, ...] | None = None
    """Why it got its server, of a sampled connection: :mod:`lb.tcp.explained`."""

    def __init__(self, context: ConnectionContext, frontend: Frontend, sock: socket.SocketType, client: Client) -> None:
        self.accepted_at = context.clock()
        self._context = context
        self._frontend = frontend
        self._route: Route = frontend.route
        self.sock = sock
        self.client = client
        self.id = context.next_id()
        self.destination: Client | None = None
        """The client's destination, if it is not the socket's own address."""
        self.tlvs = b""
        """The TLVs of its PROXY header."""
        self.server_name: str | None = None
        self._peer: Client | None = None
        """The peer of the client's socket, if it is a proxy and not the client."""
        self._on_close: tuple[Callable[[], None], ...] = ()
        self.tls: Tls | None = None
        """TLS on the client's side."""
        self._handshake: RunningHandshake | None = None
        """The client's socket in the listener's filters, and until the relay."""
        self._connector: Connector | None = None
        """Connects to the server, and holds the lease on it."""
        self._relay: Relay | None = None
        self._finished = False
        context.open.add(self)

    @property
    def backend(self) -> Backend | None:
        return self._connector.backend if self._connector is not None else None

    @property
    def server(self) -> Backend | None:
        return self.backend if self._relay is not None else None

    @property
    def bytes_in(self) -> int:
        return self._relay.bytes_in if self._relay is not None else 0

    @property
    def bytes_out(self) -> int:
        return self._relay.bytes_out if self._relay is not None else 0

    def live(self) -> LiveConnection:
        backend = self.backend
        return LiveConnection(
            self.id,
            self._frontend.name,
            self._route.pool.name,
            backend.name if backend is not None else None,
            str(self.client),
            self._state,
            (self._context.clock() - self.accepted_at) * 1000,
            self.bytes_in,
            self.bytes_out,
        )

    @property
    def _state(self) -> LiveState:
        if self._relay is not None:
            return "open"
        if self.backend is not None:
            return "connecting"
        return "greeting" if self._connector is None else "held"

    # Calls of the listener's filters

    def handshake(self, handshake: Handshake) -> None:
        self._handshake = self._context.splicer.handshake(self.sock, handshake)

    def wake_handshake(self) -> None:
        assert self._handshake is not None  # noqa: S101 - it waits for the client
        self._handshake.wake()

    @property
    def watched(self) -> socket.SocketType:
        return self.sock

    def speaks_for(self, client: Client, destination: Client, tlvs: bytes) -> None:
        self._peer, self.client, self.destination, self.tlvs = self.client, client, destination, tlvs

    def secured(self, tls: Tls) -> None:
        self.tls = tls

    def on_close(self, callback: Callable[[], None]) -> None:
        self._on_close += (callback,)

    def refuse(self, ended_by: EndedBy, reason: Reason) -> None:
        self._finish(ended_by, reason)

    def start(self) -> None:
        self._connector = connector = self.new_connector(self._context, self._route, self, self.accepted_at)
        connector.start()

    def let_in(self) -> None:
        self._route = self._frontend.route_for(self.server_name)
        self._connector = connector = self.new_connector(self._context, self._route, self, self._context.clock())
        connector.start()

    # Connect

    def no_server(self, ended_by: EndedBy, reason: Reason) -> None:
        self._finish(ended_by, reason)

    def failed(self) -> None:
        """A handshake raised because of a bug: reset, so that a truncated stream does not look complete."""
        self.close("reset")

    # Relay

    def connected(self, server: socket.SocketType, tls: Tls | None) -> None:
        frontend, connector = self._frontend, self._connector
        assert connector is not None and connector.backend is not None  # noqa: S101, PT018 - it has just connected
        timing = connector.backend.timing
        limits = frontend.bandwidth
        self._relay = self._context.splicer.relay(
            self.sock,
            server,
            self,
            idle=frontend.idle_queue,
            half_close=frontend.half_close_queue,
            first_byte=timing.first_byte if timing is not None else None,
            client_tls=self.tls,
            server_tls=tls,
            bandwidth=limits.begin(self.client, self.on_close) if limits is not None else None,
        )
        self._handshake = None
        if self.tlvs:
            self.tlvs = b""  # up to 4 KiB, for as long as the connection is open

    def relay_ended(self, ended_by: EndedBy, reason: Reason) -> None:
        """The splicer has closed both sides."""
        self._finish(ended_by, reason)

    # End

    def server_removed(self) -> None:
        if self._relay is not None:
            self.close("server_removed")
        elif self._connector is not None:
            self._connector.server_removed()

    def close(self, reason: Reason) -> None:
        """Close the connection now, in any state. Both sides get a reset: a truncated stream must not look complete."""
        if self._finished:
            return
        if self._relay is not None:
            self._relay.close(reset=True)
        else:
            end_with_reset(self.sock)
        self._finish("lb", reason)

    def _finish(self, ended_by: EndedBy, reason: Reason) -> None:
        """End the connection. Every path ends here."""
        self._finished = True
        context = self._context
        now = context.clock()
        relay, self._relay = self._relay, None
        connector, self._connector = self._connector, None  # break the reference cycle
        server, connect_ms = None, None
        attempts: tuple[Attempt, ...] = ()
        if connector is not None:
            if relay is None:
                connector.cancel()
            if connector.backend is not None:
                server = connector.backend.spec.name
                connector.release()
            attempts, connect_ms = connector.attempts, connector.connect_ms
        handshake, self._handshake = self._handshake, None  # break the reference cycle
        if handshake is not None:
            handshake.cancel()
        elif relay is None:
            self.sock.close()
        if self._on_close:
            on_close, self._on_close = self._on_close, ()
            for callback in on_close:
                callback()
        context.closed(self)
        self._frontend.closed()
        context.sink(
            ConnectionClosed(
                self.id,
                self._frontend.name,
                self._route.pool.name,
                server,
                self.client,
                attempts,
                connect_ms,
                (now - self.accepted_at) * 1000,
                relay.bytes_in if relay is not None else 0,
                relay.bytes_out if relay is not None else 0,
                ended_by,
                reason,
                self._peer,
                self.decisions,
            )
        )
