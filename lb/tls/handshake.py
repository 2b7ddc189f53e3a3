"""The handshake of TLS on a socket that nobody else waits for."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

import trio

from lb.tls.layer import Tls

__all__ = ["shake_hands"]

PIECE = 16 * 1024
"""Bytes read at once. What comes behind the handshake is kept, so this is also what may be read too early."""


async def shake_hands(sock: socket.SocketType, tls: Tls) -> None:
    """Until both sides agree. Raises ssl.SSLError if they do not, another OSError if the peer is gone."""
    received = b""
    while True:
        try:
            done = tls.shake_hands(received)
        except ssl.SSLError:
            with suppress(OSError):  # it is told why, if it takes it
                sock.send(tls.to_send())
            raise
        await _send_all(sock, tls.to_send())
        if done:
            return
        received = await _receive(sock)
        if not received:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "closed during the handshake")


async def _send_all(sock: socket.SocketType, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


async def _receive(sock: socket.SocketType) -> bytes:
    while True:
        await trio.lowlevel.checkpoint()
        try:
            return sock.recv(PIECE)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
