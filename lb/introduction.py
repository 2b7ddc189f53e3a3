"""What the servers of a pool hear from the balancer itself, before the client's bytes: a header, a handshake."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs

from lb.model import PoolSpec, PoolTlsSpec
from lb.tls import Tls
from lb.tls_contexts import name_of
from lb.tls_handshake import shake_hands
from lb.tls_store import TlsStore

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["Introduction", "StartTls", "make_introduction"]


class Introduction(Protocol):
    """One object serves all connections to a pool."""

    def begin(self, connection: Connection, server: socket.SocketType) -> None:
        """Say it to a server that is connected, then call ``join`` or ``introduction_failed``, now or later.

        The attempt's deadline holds until then.
        """


@attrs.frozen
class StartTls:
    """A handshake. Implements :class:`Introduction`."""

    spec: PoolTlsSpec
    context: ssl.SSLContext

    def begin(self, connection: Connection, server: socket.SocketType) -> None:
        connection.talk(server, partial(self._shake_hands, connection, server))

    async def _shake_hands(self, connection: Connection, server: socket.SocketType) -> None:
        backend = connection.backend
        assert backend is not None  # noqa: S101 - it was connected to
        name = name_of(self.spec, backend.spec.address)
        tls = Tls(self.context, server_side=False, server_name=name)
        try:
            await shake_hands(server, tls)
        except OSError as error:
            connection.introduction_failed(error)
        else:
            connection.secured_server(tls)
            connection.join(server)


def make_introduction(spec: PoolSpec, tls: TlsStore) -> Introduction | None:
    """None for a pool whose servers hear the client and nothing else."""
    return None if spec.tls is None else StartTls(spec.tls, tls[spec.tls])
