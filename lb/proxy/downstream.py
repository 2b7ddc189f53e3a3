"""The client's side of a connection: the interfaces for listener filters and for the process, in every mode."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from lb.events import EndedBy, Reason
from lb.model.address import Client
from lb.model.connection import LiveConnection
from lb.pools.backend import Backend
from lb.relay.splicer import Handshake
from lb.tls.layer import Tls

__all__ = ["Downstream", "OpenConnection"]


class Downstream(Protocol):
    """An accepted client, as listener filters use it."""

    sock: socket.SocketType
    accepted_at: float
    """The time of the accept, in seconds of the process's clock."""
    client: Client
    """The client address for logs, strategies and access lists."""
    server_name: str | None
    """The server name (SNI) in the ClientHello, "" without SNI; None if no filter has read it."""

    def start(self) -> None:
        """Serve the client at once: nothing was read from it, and its address is that of its socket."""

    def let_in(self) -> None:
        """Serve the client: it has passed the filter chain, which may have changed its address or server name."""

    def refuse(self, ended_by: EndedBy, reason: Reason) -> None:
        """End the connection: the client gets no server."""

    def handshake(self, handshake: Handshake) -> None:
        """Run filters on the client's socket. They are called off when the connection ends."""

    def wake_handshake(self) -> None:
        """Let the filters proceed, though the client's socket is not ready."""

    def failed(self) -> None:
        """A filter raised because of a bug: end with a reset."""

    def speaks_for(self, client: Client, destination: Client, tlvs: bytes) -> None:
        """Set the client address from a PROXY header, and its TLVs. The client connected to ``destination``."""

    def secured(self, tls: Tls) -> None:
        """The TLS handshake with the client is complete."""

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the connection ends, for any reason."""


class OpenConnection(Protocol):
    """An open connection, as the process lists and closes it."""

    id: int

    @property
    def backend(self) -> Backend | None:
        """The leased server."""

    @property
    def server(self) -> Backend | None:
        """The server that the connection is relayed to; None before and after."""

    @property
    def bytes_in(self) -> int:
        """Bytes from the client so far."""

    @property
    def bytes_out(self) -> int:
        """Bytes to the client so far."""

    def live(self) -> LiveConnection:
        """A snapshot for operators."""

    def server_removed(self) -> None:
        """The server was removed from the configuration, and the drain timeout has passed."""

    def close(self, reason: Reason) -> None:
        """Close the connection now, in any state. A truncated stream is reset."""
