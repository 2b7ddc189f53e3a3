"""What the servers of a pool hear from the balancer itself, before the client's bytes: a header, a handshake."""

from __future__ import annotations

import errno
import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs

from lb.address import client_of
from lb.model import PoolSpec, PoolTlsSpec
from lb.proxy_protocol.header import proxy_header
from lb.tls.contexts import name_of
from lb.tls.handshake import shake_hands
from lb.tls.layer import Tls
from lb.tls.store import TlsStore

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["Introduction", "SendProxy", "StartTls", "make_introduction"]


class Introduction(Protocol):
    """One object serves all connections to a pool."""

    def begin(self, connection: Connection, server: socket.SocketType) -> None:
        """Say it to a server that is connected, then call ``join`` or ``introduction_failed``, now or later.

        The attempt's deadline holds until then.
        """


@attrs.frozen
class SendProxy:
    """A PROXY header. Implements :class:`Introduction`."""

    version: str

    def begin(self, connection: Connection, server: socket.SocketType) -> None:
        try:
            self.say(connection, server)
        except OSError as error:
            connection.introduction_failed(error)
        else:
            connection.join(server)

    def say(self, connection: Connection, server: socket.SocketType) -> None:
        """Send the header. Raises OSError.

        The buffer of a socket that is new holds it, unless the system is short of memory.
        """
        destination = connection.destination or client_of(connection.sock.getsockname())
        header = proxy_header(self.version, connection.client, destination)
        if server.send(header) < len(header):
            raise OSError(errno.ENOBUFS, "no room for the PROXY header")


@attrs.frozen
class StartTls:
    """A handshake, after a PROXY header if the server wants one. Implements :class:`Introduction`."""

    spec: PoolTlsSpec
    context: ssl.SSLContext
    proxy: SendProxy | None

    def begin(self, connection: Connection, server: socket.SocketType) -> None:
        connection.talk(server, partial(self._shake_hands, connection, server))

    async def _shake_hands(self, connection: Connection, server: socket.SocketType) -> None:
        backend = connection.backend
        assert backend is not None  # noqa: S101 - it was connected to
        name = name_of(self.spec, backend.spec.address)
        tls = Tls(self.context, server_side=False, server_name=name)
        try:
            if self.proxy is not None:
                self.proxy.say(connection, server)
            await shake_hands(server, tls)
        except OSError as error:
            connection.introduction_failed(error)
        else:
            connection.secured_server(tls)
            connection.join(server)


def make_introduction(spec: PoolSpec, tls: TlsStore) -> Introduction | None:
    """None for a pool whose servers hear the client and nothing else."""
    proxy = None if spec.send_proxy == "off" else SendProxy(spec.send_proxy)
    return proxy if spec.tls is None else StartTls(spec.tls, tls[spec.tls], proxy)
