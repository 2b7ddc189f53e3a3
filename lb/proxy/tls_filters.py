"""Listener filters for TLS: the handshake of a terminating listener, or only the server name (SNI) for routing."""

from __future__ import annotations

import socket
import ssl

import attrs
import trio

from lb.events import Reason
from lb.proxy.downstream import Downstream
from lb.proxy.filters import FilterFailed
from lb.tls.client_hello import MAX_CLIENT_HELLO, ClientHello, NotTlsError
from lb.tls.handshake import shake_hands
from lb.tls.layer import Tls

__all__ = ["SniFilter", "TlsFilter"]

PEEK_INTERVAL = 0.01
"""Seconds until a unix socket is peeked again for the rest of a ClientHello, which rarely arrives in pieces."""


@attrs.frozen
class TlsFilter:
    """TLS termination: does the handshake with the client. Implements :class:`lb.proxy.filters.Filter`."""

    context: ssl.SSLContext

    @property
    def reason(self) -> Reason:
        return "tls_failed"

    async def apply(self, downstream: Downstream) -> None:
        tls = Tls(self.context, server_side=True)
        try:
            await shake_hands(downstream.sock, tls)
        except ssl.SSLError as error:
            raise FilterFailed("client" if _client_aborted(error) else "lb") from error
        downstream.secured(tls)


def _client_aborted(error: ssl.SSLError) -> bool:
    """Return True if the client is gone or sent an alert, for example because it rejects the certificate."""
    return isinstance(error, ssl.SSLEOFError) or "_ALERT_" in (error.reason or "")


class SniFilter:
    """Reads the SNI and leaves the ClientHello for the server. Implements :class:`lb.proxy.filters.Filter`."""

    @property
    def reason(self) -> Reason:
        return "tls_failed"

    async def apply(self, downstream: Downstream) -> None:
        try:
            downstream.server_name = await _server_name(downstream.sock)
        except NotTlsError as error:
            raise FilterFailed from error


async def _server_name(sock: socket.SocketType) -> str:
    """Return the name in the ClientHello, "" without one. The bytes stay in the socket. Raises NotTlsError."""
    hello, seen = ClientHello(), 0
    while True:
        try:
            peeked = sock.recv(MAX_CLIENT_HELLO, socket.MSG_PEEK)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if len(peeked) == seen and sock.family != socket.AF_UNIX:
            raise FilterFailed("client")  # readable without new bytes: end of file
        name = hello.read(peeked[seen:])
        if name is not None:
            return name
        seen = len(peeked)
        if seen == MAX_CLIENT_HELLO:
            raise NotTlsError("too long")
        await _wait_for_more(seen, sock)


async def _wait_for_more(count: int, sock: socket.SocketType) -> None:
    """Wait until the socket holds more than ``count`` bytes, or its end.

    The peeked bytes are still in the socket, so a plain wait for readability would return at once.
    """
    if sock.family == socket.AF_UNIX:  # no low-water mark, socket(7)
        await trio.sleep(PEEK_INTERVAL)
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count + 1)
    try:
        await trio.lowlevel.wait_readable(sock)
    finally:
        if sock.fileno() != -1:  # the connection may have been closed meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
