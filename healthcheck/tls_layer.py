"""TLS towards a server, without I/O: bytes of the connection in and out, plain bytes in and out."""

from __future__ import annotations

import ssl

from healthcheck.probe import Secure

__all__ = ["TlsLayer"]

_CHUNK = 65_536


class TlsLayer:
    """The client's side of one TLS session. All methods raise ssl.SSLError.

    ``outgoing()`` returns the bytes to send after each other call.
    """

    def __init__(self, secure: Secure) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.session = secure.context.wrap_bio(self._incoming, self._outgoing, server_hostname=secure.server_name)
        self.secured = False
        """The handshake is done."""

    def received(self, data: bytes) -> None:
        """Take bytes of the connection. No bytes are its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def outgoing(self) -> bytes:
        """Return the bytes to send, once."""
        return self._outgoing.read()

    def shake_hands(self) -> bool:
        """Go on with the handshake. Return True if it is done."""
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.secured = True
        return True

    def read(self) -> bytes | None:
        """Return plain bytes; none at the end of the stream, None if more bytes must be received first.

        A connection that ends without a closing message counts as an end: many servers do that.
        """
        try:
            return self.session.read(_CHUNK)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def write(self, data: bytes) -> None:
        """Encrypt plain bytes."""
        self.session.write(data)

    def close(self) -> bool:
        """Send the closing message. Return True once the server's has arrived."""
        try:
            self.session.unwrap()
        except ssl.SSLWantReadError:
            return False
        return True
