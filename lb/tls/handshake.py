"""The TLS handshake on a socket that no other task uses."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

import trio

from lb.tls.layer import Tls

__all__ = ["shake_hands"]

HANDSHAKE_READ_SIZE = 16 * 1024
"""Maximum bytes per read. Bytes after the handshake are kept for the stream, so this also bounds early data."""


async def shake_hands(sock: socket.SocketType, tls: Tls) -> None:
    """Complete the handshake. Raises ssl.SSLError if it fails, another OSError if the peer is gone."""
    received = b""
    while True:
        try:
            done = tls.shake_hands(received)
        except ssl.SSLError:
            with suppress(OSError):  # send the alert, if the peer accepts it
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
            return sock.recv(HANDSHAKE_READ_SIZE)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
