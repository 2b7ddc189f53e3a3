"""A client's connection: the first byte tells whether it speaks SOCKS or HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable

from lb.events import EndedBy, Reason
from lb.forward.carrier import ForwardCarrier
from lb.forward.connect_exchange import ConnectExchange
from lb.forward.exchange import ForwardExchange
from lb.forward.proxy_frontend import ProxyFrontend
from lb.forward.socks_session import SocksSession
from lb.http.client_connection import HEAD_READ
from lb.http.exchange import Exchange
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead
from lb.model.address import Client
from lb.net.deadlines import DeadlineQueue
from lb.pools.backend import Backend
from lb.proxy.context import ConnectionContext

__all__ = ["ForwardConnection"]

_SOCKS = (4, 5)
"""First bytes."""


class ForwardConnection(ForwardCarrier):
    """Serves requests, until one becomes a tunnel."""

    __slots__ = ("_session", "_spoken")

    def __init__(
        self, context: ConnectionContext, frontend: ProxyFrontend, sock: socket.SocketType, client: Client
    ) -> None:
        super().__init__(context, frontend, sock, client)
        self._spoken = False
        """The first byte has come."""
        self._session: SocksSession | None = None
        self.asked = None

    # Calls of the loop

    def on_readable(self) -> None:
        if self._session is None:
            super().on_readable()
        elif not self._lingering:
            self.contained(self._session.readable)
        else:
            self._read_lingering()

    def _serve(self) -> None:
        if self._spoken or self._hear():
            super()._serve()

    def _hear(self) -> bool:
        """Read the first bytes. Return True if they are no SOCKS."""
        try:
            data = self.read_bytes(HEAD_READ) if self.has_input else None
        except OSError:
            self.lost("client", "reset")
            return False
        if data is None:
            return False
        self._spoken = True
        if not data:
            self.lost("client", "eof")
            return False
        self.give_back(data)
        if data[0] in _SOCKS:
            self._header_queue = self.frontend.header_queue
            self._header_queue.enter(self, self._context.clock())
            self._session = SocksSession(self, data[0])
            self.contained(self._session.readable)
            return False
        if "http" not in self.frontend.proxy.protocols:
            self._refuse(MalformedError("HTTP is not spoken here"))
            return False
        return True

    def new_exchange(self, head: RequestHead) -> Exchange:
        self.asked = None
        kind = ConnectExchange if head.method == b"CONNECT" else ForwardExchange
        return kind(self, self.frontend, head)

    # Deadlines

    @property
    def _is_busy(self) -> bool:
        return self._session is not None or super()._is_busy

    def expired(self, queue: DeadlineQueue) -> None:
        if self._session is not None and queue is self._header_queue:
            self._header_queue = None
            self.lost("lb", "idle_timeout")
        else:
            super().expired(queue)

    # The end

    @property
    def backend(self) -> Backend | None:
        if self._session is not None:
            return self._session.dial.backend if self._session.dial is not None else None
        return super().backend

    def server_removed(self) -> None:
        if self._session is None:
            super().server_removed()
        elif self._session.dial is not None:
            self._session.dial.server_removed()

    def _finish(self, ended_by: EndedBy, reason: Reason, *, reset: bool = False) -> None:
        session, self._session = self._session, None  # break the reference cycle
        if session is not None:
            session.cancel()
        super()._finish(ended_by, reason, reset=reset)

    def hand_over(self) -> tuple[bytes, tuple[Callable[[], None], ...]]:
        self._session = None
        return super().hand_over()
