"""What the servers of a pool hear from the balancer itself, before the client's bytes: a header, a handshake."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Protocol

import attrs

from lb.address import client_of
from lb.model import PoolSpec
from lb.proxy_header import proxy_header

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["Introduction", "SendProxy", "make_introduction"]


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


def make_introduction(spec: PoolSpec) -> Introduction | None:
    """None for a pool whose servers hear the client and nothing else."""
    return None if spec.send_proxy == "off" else SendProxy(spec.send_proxy)
