"""TLS towards a server, without I/O: bytes of the connection in and out, plain bytes in and out."""

from __future__ import annotations

import ssl

from healthcheck.probe import Secure
from lb.net.tls_records import RecordHeads

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
        self.records = 0
        """The number of records that have arrived. Their size does not tell what they cost."""
        self._heads = RecordHeads()

    def received(self, data: bytes) -> None:
        """Take bytes of the connection. No bytes are its end."""
        if data:
            self._incoming.write(data)
            self.records += sum(records for _, records in self._heads.split(memoryview(data), len(data)))
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

    def read(self) -> tuple[bytes, bool]:
        """Return the plain bytes that have arrived, and whether the stream ends after them.

        A connection that ends without a closing message counts as an end: many servers do that. An error after plain
        bytes is raised by the next call.
        """
        plain = b""
        while True:
            try:
                piece = self.session.read(_CHUNK)
            except ssl.SSLWantReadError:
                return plain, False
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return plain, True
            except ssl.SSLError:
                if not plain:
                    raise
                return plain, False
            if not piece:  # the closing message, for which not all versions of ssl raise
                return plain, True
            plain += piece

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
