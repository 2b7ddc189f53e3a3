"""The server handshake: what the balancer sends to a server before the client's bytes (PROXY header, TLS)."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import attrs

from lb.model import PoolSpec, PoolTlsSpec
from lb.model.address import Client, client_of
from lb.pools.backend import Backend
from lb.proxy_protocol.header import proxy_header
from lb.tls.contexts import name_of
from lb.tls.handshake import shake_hands
from lb.tls.layer import Layer, Tls
from lb.tls.store import TlsStore

__all__ = ["Handshaking", "SendProxy", "ServerHandshake", "StartTls", "make_handshake"]


class Handshaking(Protocol):
    """The owner of a server handshake: a connector whose connect has succeeded."""

    @property
    def backend(self) -> Backend | None:
        """The server."""

    @property
    def client(self) -> Client:
        """The client address to send to the server."""

    @property
    def destination(self) -> Client | None:
        """The client's destination, if it is not its socket's own address."""

    @property
    def client_socket(self) -> socket.SocketType: ...

    def run_task(self, server: socket.SocketType, run: Callable[[], Awaitable[None]]) -> None:
        """Continue in a task. It has the server's socket for itself until it calls one of the methods below."""

    def ready(self, server: socket.SocketType, layer: Layer | None = None) -> None:
        """The handshake is complete."""

    def handshake_failed(self, error: OSError) -> None:
        """The handshake failed: try another server."""


class ServerHandshake(Protocol):
    """A server handshake. One object serves all connections to a pool."""

    def begin(self, connector: Handshaking, server: socket.SocketType) -> None:
        """Start the handshake on a connected socket. Call ``ready`` or ``handshake_failed``, now or later.

        The attempt's deadline applies until then.
        """


@attrs.frozen
class SendProxy:
    """Sends a PROXY header. Implements :class:`ServerHandshake`."""

    version: str

    def begin(self, connector: Handshaking, server: socket.SocketType) -> None:
        try:
            self.send(connector, server)
        except OSError as error:
            connector.handshake_failed(error)
        else:
            connector.ready(server)

    def send(self, connector: Handshaking, server: socket.SocketType) -> None:
        """Send the header. Raises OSError.

        The send buffer of a new socket holds the whole header, unless the system is short of memory.
        """
        destination = connector.destination or client_of(connector.client_socket.getsockname())
        header = proxy_header(self.version, connector.client, destination)
        if server.send(header) < len(header):
            raise OSError(errno.ENOBUFS, "no room for the PROXY header")


@attrs.frozen
class StartTls:
    """Does a TLS handshake, after a PROXY header if configured. Implements :class:`ServerHandshake`."""

    spec: PoolTlsSpec
    context: ssl.SSLContext
    proxy: SendProxy | None

    def begin(self, connector: Handshaking, server: socket.SocketType) -> None:
        connector.run_task(server, partial(self._shake_hands, connector, server))

    async def _shake_hands(self, connector: Handshaking, server: socket.SocketType) -> None:
        backend = connector.backend
        assert backend is not None  # noqa: S101 - the connect has succeeded
        name = name_of(self.spec, backend.spec.address)
        tls = Tls(self.context, server_side=False, server_name=name)
        try:
            if self.proxy is not None:
                self.proxy.send(connector, server)
            await shake_hands(server, tls)
        except OSError as error:
            connector.handshake_failed(error)
        else:
            connector.ready(server, tls)


def make_handshake(spec: PoolSpec, tls: TlsStore) -> ServerHandshake | None:
    """Return the server handshake of a pool; None if servers get only the client's bytes."""
    proxy = None if spec.send_proxy == "off" else SendProxy(spec.send_proxy)
    return proxy if spec.tls is None else StartTls(spec.tls, tls[spec.tls], proxy)
