"""What stands between a socket's bytes and a stream's: nothing, or TLS. No I/O: the bytes come and go as values.

Each direction of a TLS connection ends by itself, with an alert called close_notify (RFC 8446, 6.1), which is to TLS
what FIN is to TCP. A FIN without one may be somebody else's doing, so it is an error here.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

__all__ = ["Clear", "Layer", "Tls", "names_as_they_come"]

RECORD = 16 * 1024
"""Bytes of the stream in one record at most, RFC 8446, 5.1; one read of OpenSSL's gives one record."""


@contextmanager
def names_as_they_come() -> Iterator[None]:
    """Within a handshake: a client that asks for a server in letters beyond ASCII fails, and that is all.

    Python tells our callback no such name, and prints a traceback; anybody could fill the log with them.
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is not UnicodeDecodeError:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


class Layer(Protocol):
    """One end of a connection: what its socket says goes in, what it shall say comes out, in order."""

    @property
    def early(self) -> bytes:
        """The stream's first bytes, if they came before the relay began."""

    @property
    def ended(self) -> bool:
        """The peer has finished its direction, in order; what :meth:`open` has returned so far is all."""

    def open(self, received: bytes) -> bytes:
        """The stream's bytes in what the socket has received, maybe none yet; ``b""`` received is its end of file.

        Raises ssl.SSLError if the peer breaks the protocol, ssl.SSLEOFError if the stream is cut off.
        """

    def seal(self, data: bytes) -> bytes:
        """What to send for these bytes of the stream."""

    def finish(self) -> bytes:
        """What to send after the last byte, before a FIN."""


class Clear:
    """Plain TCP. Implements :class:`Layer`."""

    __slots__ = ("ended",)
    early = b""

    def __init__(self) -> None:
        self.ended = False

    def open(self, received: bytes) -> bytes:
        self.ended = not received
        return received

    def seal(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class Tls:
    """TLS, once :meth:`shake_hands` has returned True. Implements :class:`Layer`.

    ``server_name`` is for the client's role: the server that is asked for and, if the context checks names, the one
    that its certificate must name; an IP address is checked, and not asked for.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "early", "ended")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_name: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_name
        )
        self.early = b""
        self.ended = False

    def shake_hands(self, received: bytes = b"") -> bool:
        """The next step of the handshake; True if it was the last. After each, :meth:`to_send` goes out.

        Raises ssl.SSLError; then, too, :meth:`to_send` tells the peer why.
        """
        self._incoming.write(received)
        try:
            with names_as_they_come():
                self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.early = self._read_all()
        return True

    def to_send(self) -> bytes:
        """What the handshake has to say."""
        return self._outgoing.read()

    def open(self, received: bytes) -> bytes:
        if not received:
            if not self.ended:
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "cut off")
            return b""
        self._incoming.write(received)
        return self._read_all()

    def _read_all(self) -> bytes:
        """All that has come: OpenSSL takes bytes of the stream that :meth:`finish` finds for an error."""
        pieces = []
        try:
            while piece := self._object.read(RECORD):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the same as b"", once our own direction has ended
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seal(self, data: bytes) -> bytes:
        """Sealed. An answer that TLS itself owes to the peer (RFC 8446, 4.6.3) goes before it, as it should."""
        self._object.write(data)
        return self._outgoing.read()

    def finish(self) -> bytes:
        with suppress(ssl.SSLWantReadError):  # the peer's own end, which comes when it comes
            self._object.unwrap()
        return self._outgoing.read()
