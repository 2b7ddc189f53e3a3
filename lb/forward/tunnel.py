"""A client and the server that it has asked for, from the connect to the record: bytes pass as in mode ``tcp``."""

from __future__ import annotations

import socket
from collections.abc import Callable

from lb.events import EndedBy, Reason, TunnelClosed
from lb.forward.asked import Asked
from lb.forward.carrier import ForwardCarrier
from lb.forward.dial import Dial
from lb.model.connection import LiveConnection
from lb.pools.backend import Backend
from lb.proxy.bandwidth_limits import bandwidth_of
from lb.relay.epoll_relay import EpollRelay
from lb.tls.layer import Tls

__all__ = ["Tunnel"]


class Tunnel:
    """Takes a client over from its connection. Implements OpenConnection and RelayOwner."""

    __slots__ = ("_accepted_at", "_asked", "_client", "_dial", "_frontend", "_on_close", "_peer", "_relay", "id")

    def __init__(
        self,
        connection: ForwardCarrier,
        asked: Asked,
        dial: Dial,
        server: socket.SocketType,
        tls: Tls | None,
    ) -> None:
        frontend = connection.frontend
        self.id = connection.id
        self._frontend = frontend
        self._asked = asked
        self._dial = dial
        self._client = connection.client
        self._accepted_at = connection.accepted_at
        self._peer = connection.peer
        frontend.context.open.add(self)
        buckets, unsent = connection.buckets, connection.unsent
        ahead, self._on_close = connection.hand_over()
        self._relay: EpollRelay | None = frontend.splicer.relay(
            connection.sock,
            server,
            self,
            idle=frontend.tunnel_queue,
            half_close=frontend.half_close_queue,
            first_byte=None,
            client_tls=connection.tls,
            server_tls=tls,
            bandwidth=bandwidth_of(buckets) if buckets else None,
        )
        if ahead or unsent:
            self._relay.begin_with(ahead, b"", unsent)

    @property
    def backend(self) -> Backend | None:
        return self._dial.backend

    @property
    def server(self) -> Backend | None:
        return self._dial.backend

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
            self._dial.pool,
            backend.name if backend is not None else None,
            str(self._client),
            "open",
            (self._frontend.context.clock() - self._accepted_at) * 1000,
            self.bytes_in,
            self.bytes_out,
        )

    def relay_ended(self, ended_by: EndedBy, reason: Reason) -> None:
        """The splicer has closed both sides."""
        self._finish(ended_by, reason)

    def server_removed(self) -> None:
        self.close("server_removed")

    def close(self, reason: Reason) -> None:
        """End the tunnel now. Both sides get a reset: a truncated stream must not look complete."""
        if self._relay is not None:
            self._relay.close(reset=True)
            self._finish("lb", reason)

    def _finish(self, ended_by: EndedBy, reason: Reason) -> None:
        """End the tunnel. Every path ends here."""
        relay, self._relay = self._relay, None  # break the reference cycle
        frontend, dial = self._frontend, self._dial
        server = dial.backend.name if dial.backend is not None else None
        dial.release()
        callbacks: tuple[Callable[[], None], ...] = self._on_close
        self._on_close = ()
        for callback in callbacks:
            callback()
        frontend.context.closed(self)
        frontend.closed()
        frontend.context.sink(
            TunnelClosed(
                self.id,
                frontend.name,
                dial.pool,
                server,
                self._client,
                dial.attempts,
                dial.connect_ms,
                (frontend.context.clock() - self._accepted_at) * 1000,
                relay.bytes_in if relay is not None else 0,
                relay.bytes_out if relay is not None else 0,
                ended_by,
                reason,
                self._peer,
                None,
                self._asked.target,
                self._asked.user,
                self._asked.protocol,
            )
        )
