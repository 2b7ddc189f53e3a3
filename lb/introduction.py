"""What the servers of a pool hear from the balancer itself, before the client's bytes: a header, a handshake."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from lb.model import PoolSpec

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["Introduction", "make_introduction"]


class Introduction(Protocol):
    """One object serves all connections to a pool."""

    def begin(self, connection: Connection, server: socket.SocketType) -> None:
        """Say it to a server that is connected, then call ``join`` or ``introduction_failed``, now or later.

        The attempt's deadline holds until then.
        """


def make_introduction(spec: PoolSpec) -> Introduction | None:  # noqa: ARG001
    """None for a pool whose servers hear the client and nothing else."""
    return None
