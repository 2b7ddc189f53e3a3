"""TLS before a server is picked: the steps of a greeting that hear the handshake, or only whom the client asks for."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING

import attrs
import trio

from lb.events import Reason
from lb.greeting import GreetingFailed
from lb.tls.client_hello import LARGEST, ClientHello, NotTlsError
from lb.tls.handshake import shake_hands
from lb.tls.layer import Tls

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["AcceptTls", "HearServerName"]

LOOK_AGAIN = 0.01
"""Seconds after which a unix socket is looked at again for the rest of a ClientHello, which hardly ever comes apart."""


@attrs.frozen
class AcceptTls:
    """The handshake of a listener that speaks TLS. Implements :class:`lb.greeting.Step`."""

    context: ssl.SSLContext

    @property
    def reason(self) -> Reason:
        return "tls_failed"

    async def hear(self, connection: Connection) -> None:
        tls = Tls(self.context, server_side=True)
        try:
            await shake_hands(connection.sock, tls)
        except ssl.SSLError as error:
            raise GreetingFailed("client" if _client_gave_up(error) else "lb") from error
        connection.secured_client(tls)


def _client_gave_up(error: ssl.SSLError) -> bool:
    """It is gone, or says that it minds something, say our certificate: an alert."""
    return isinstance(error, ssl.SSLEOFError) or "_ALERT_" in (error.reason or "")


class HearServerName:
    """Whom the client asks for, in a handshake that is left for the server. Implements :class:`lb.greeting.Step`."""

    @property
    def reason(self) -> Reason:
        return "tls_failed"

    async def hear(self, connection: Connection) -> None:
        try:
            connection.asks_for = await _server_name(connection.sock)
        except NotTlsError as error:
            raise GreetingFailed from error


async def _server_name(sock: socket.SocketType) -> str:
    """The name in the ClientHello, "" without one. All that was looked at is still there. Raises NotTlsError."""
    hello, seen = ClientHello(), 0
    while True:
        try:
            there = sock.recv(LARGEST, socket.MSG_PEEK)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if len(there) == seen and sock.family != socket.AF_UNIX:
            raise GreetingFailed("client")  # it was said that there is something, so it is the end
        name = hello.read(there[seen:])
        if name is not None:
            return name
        seen = len(there)
        if seen == LARGEST:
            raise NotTlsError("too long")
        await _more_than(seen, sock)


async def _more_than(count: int, sock: socket.SocketType) -> None:
    """Wait until there is more than so many bytes, or the end.

    What was only looked at is still there, and to wait until the socket is readable would be no wait at all.
    """
    if sock.family == socket.AF_UNIX:  # which has no low-water mark, socket(7)
        await trio.sleep(LOOK_AGAIN)
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count + 1)
    try:
        await trio.lowlevel.wait_readable(sock)
    finally:
        if sock.fileno() != -1:  # the connection may have been closed meanwhile
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
