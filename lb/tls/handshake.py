"""The TLS handshake on a non-blocking socket."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

from lb.tls.layer import Tls

__all__ = ["TlsHandshake"]

HANDSHAKE_READ_SIZE = 4 * 1024
"""Maximum bytes per read. Bytes after the handshake are kept for the stream, so this also bounds early data."""


class TlsHandshake:
    """Completes the handshake of ``tls`` in steps. The client role sends first."""

    __slots__ = ("_complete", "_sock", "_starts", "_unsent", "tls", "unread")
    costly = True

    def __init__(self, sock: socket.SocketType, tls: Tls, *, starts: bool) -> None:
        self._sock = sock
        self.tls = tls
        self._starts = starts
        self._unsent = b""
        self._complete = False
        self.unread = 0
        """1 if the last read was full: the socket may hold more."""

    @property
    def writing(self) -> bool:
        """True if the socket has not accepted all bytes yet."""
        return bool(self._unsent)

    def proceed(self) -> bool:
        """Read and write until the socket would block. Return True if the handshake is complete.

        Raises ssl.SSLError if it fails, another OSError if the peer is gone.
        """
        if self._starts:
            self._starts = False
            self._step(b"")
        while self._flush() and not self._complete:
            try:
                received = self._sock.recv(HANDSHAKE_READ_SIZE)
            except BlockingIOError:
                return False
            if not received:
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "closed during the handshake")
            self.unread = int(len(received) == HANDSHAKE_READ_SIZE)
            self._step(received)
            if not (self._complete or self.unread):
                self._flush()
                return False
        return self._complete and not self._unsent

    def _step(self, received: bytes) -> None:
        try:
            self._complete = self.tls.shake_hands(received)
        except ssl.SSLError:
            with suppress(OSError):  # send the alert, if the peer accepts it
                self._sock.send(self.tls.to_send())
            raise
        self._unsent = self.tls.to_send()

    def _flush(self) -> bool:
        """Send what is unsent. Return True if nothing is left."""
        if self._unsent:
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
            except BlockingIOError:
                return False
        return not self._unsent
