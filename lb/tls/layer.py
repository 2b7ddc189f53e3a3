"""The layer between a socket's bytes and a stream's bytes: plain TCP or TLS. No I/O: bytes are arguments and results.

Each direction of a TLS connection ends on its own with a close_notify alert (RFC 8446, 6.1), the equivalent of a TCP
FIN. A FIN without close_notify may come from an attacker, so it is an error here.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from lb.net.tls_records import RecordHeads
from lb.tls.openssl import ClientSession, openssl

__all__ = ["RECORD", "Clear", "LastSession", "Layer", "Tls", "ignore_undecodable_names"]

RECORD = 16 * 1024
"""Maximum stream bytes in one record, RFC 8446, 5.1. One OpenSSL read returns one record."""
PIECE = 32 * 1024
"""Maximum bytes given to OpenSSL at once. Its buffers grow to the largest piece and keep that size."""
MOST_UNANSWERED = 16
"""Records without stream bytes that a peer may send before it gets a record. A few are usual: tickets, alerts."""
WITHOUT_BYTES = 8
"""Records that cost as much as one without stream bytes does more: a key update derives new keys."""


@contextmanager
def ignore_undecodable_names() -> Iterator[None]:
    """Suppress the traceback for a server name (SNI) that is not ASCII. The handshake of that client fails anyway.

    Python does not call the SNI callback for such a name, and prints a traceback. Any client could fill the log so.
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
    """One side of a connection: it decodes received bytes and encodes bytes to send, in order."""

    @property
    def early(self) -> bytes:
        """The stream's first bytes, if they arrived before the relay started."""

    @property
    def ended(self) -> bool:
        """True if the peer has ended its direction in an orderly way: :meth:`open` returns no more bytes."""

    def open(self, received: bytes) -> bytes:
        """Decode received bytes to stream bytes, possibly none yet. ``b""`` is the socket's end of file.

        Raises ssl.SSLError if the peer violates the protocol, ssl.SSLEOFError if the stream is truncated.
        """

    def seal(self, data: bytes) -> bytes:
        """Encode stream bytes to the bytes to send."""

    def finish(self) -> bytes:
        """Return the bytes to send after the last stream byte, before a FIN."""


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


class LastSession:
    """The last session with a server, for the next connection to resume: that saves both sides half of the work."""

    __slots__ = ("_openssl", "_session")

    def __init__(self) -> None:
        self._openssl = openssl()
        self._session: ClientSession | None = None

    def resume(self, connection: ssl.SSLObject) -> None:
        """Offer the session, if there is one, in the handshake of a new connection."""
        if self._session is not None and self._openssl is not None:
            self._openssl.resume(connection, self._session)

    def keep(self, connection: ssl.SSLObject) -> None:
        """Keep the session of a connection that has ended. A resumed one is kept already.

        In TLS 1.3 a session comes in a ticket after the handshake.
        """
        if self._openssl is not None:
            self._openssl.keep_valid(connection)
            if not connection.session_reused:
                self._session = self._openssl.session(connection) or self._session


class Tls:
    """TLS, once :meth:`shake_hands` has returned True. Implements :class:`Layer`.

    ``server_name`` is for the client role: the name sent as SNI. If the context checks names, the certificate must
    match it. An IP address is checked, but not sent. It resumes the ``last`` session with the server.
    """

    __slots__ = (
        "_heads",
        "_incoming",
        "_inner",
        "_last",
        "_object",
        "_outgoing",
        "_unanswered",
        "early",
        "ended",
        "work",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_name: str | None = None,
        last: LastSession | None = None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._last = last
        self._object = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_name,
        )
        self._inner: Any = self._object._sslobj  # type: ignore[attr-defined]  # noqa: SLF001 - without a call more per record
        if last is not None:
            last.resume(self._object)
        self.early = b""
        self.ended = False
        self.work = 0
        """Records read by the last call of :meth:`open` or :meth:`open_into`. One without stream bytes counts more."""
        self._heads = RecordHeads()
        self._unanswered = 0
        """Records without stream bytes since the last record to the peer."""

    def shake_hands(self, received: bytes = b"") -> bool:
        """Do the next step of the handshake. Return True if it is complete. After each step, send :meth:`to_send`.

        Raises ssl.SSLError. Send :meth:`to_send` in that case too: it holds the alert for the peer.
        """
        complete = False
        for piece, records in self._heads.split(memoryview(received), PIECE) if received else [(b"", 0)]:
            self._incoming.write(piece)
            complete = complete or self._continue_handshake()
            if complete and self._incoming.pending:
                self.early += self._read_all(records)
        return complete

    def _continue_handshake(self) -> bool:
        try:
            with ignore_undecodable_names():
                self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def to_send(self) -> bytes:
        """Return the handshake bytes to send."""
        return self._outgoing.read()

    @property
    def version(self) -> str:
        """The version of the protocol, such as ``TLSv1.3``."""
        return self._object.version() or ""

    @property
    def cipher(self) -> str:
        """The name of the cipher suite."""
        cipher = self._object.cipher()
        return "" if cipher is None else cipher[0]

    @property
    def protocol(self) -> str | None:
        """The protocol selected by ALPN."""
        return self._object.selected_alpn_protocol()

    @property
    def common_name(self) -> str | None:
        """The common name in the peer's verified certificate, possibly empty; None if there is no such certificate."""
        certificate = self._object.getpeercert()
        if not certificate:
            return None
        subject: Any = certificate.get("subject", ())
        return next((value for part in subject for key, value in part if key == "commonName"), "")

    @property
    def client_server_name(self) -> str | None:
        """The server name (SNI) that the client has sent; None if it sent none, or on an unusual interpreter."""
        calls = openssl()
        return None if calls is None else calls.server_name(self._object)

    def open(self, received: bytes) -> bytes:
        if not received:
            if not self.ended:
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "cut off")
            return b""
        self.work = 0
        pieces = []
        for piece, records in self._heads.split(memoryview(received), PIECE):
            self._incoming.write(piece)
            pieces.append(self._read_all(records))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_all(self, records: int) -> bytes:
        """Read the stream bytes of a piece in which this number of records end.

        If :meth:`finish` found unread ones, OpenSSL would report an error.
        """
        found = []
        try:
            while bytes_of_record := self._object.read(RECORD):
                found.append(bytes_of_record)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the same as b"", after this side's own close_notify
            self.ended = True
        self._count(records, len(found))
        return found[0] if len(found) == 1 else b"".join(found)

    def open_into(self, received: memoryview, plain: memoryview) -> int:
        """Decode received bytes into ``plain``, which has room for two records more. Return the number of stream bytes.

        Raises ssl.SSLError.
        """
        self.work = 0
        if len(received) <= PIECE and self._heads.is_one_record(received):
            return self._open_piece(received, plain, 1)
        count = 0
        for piece, records in self._heads.split(received, PIECE):
            count += self._open_piece(piece, plain[count:], records)
        return count

    def _open_piece(self, piece: memoryview, plain: memoryview, records: int) -> int:
        """Decode a piece. A read that finds no whole record costs an exception, so OpenSSL is asked only for bytes."""
        incoming, read = self._incoming, self._inner.read
        incoming.write(piece)
        count = with_bytes = 0
        try:
            while incoming.pending and not self.ended:
                length = read(RECORD, plain[count:] if count else plain)
                self.ended = not length
                count += length
                with_bytes += 1
        except ssl.SSLWantReadError:  # the rest of a record is still to come
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        if records != 1 or not with_bytes:
            self._count(records, with_bytes)
        return count

    def _count(self, records: int, with_bytes: int) -> None:
        """Count records, and those of them that had bytes of the stream. Raises ssl.SSLError if too many had none.

        Those are key updates (RFC 8446, 4.6.3), alerts, session tickets, empty fragments and attempts to renegotiate.
        OpenSSL answers with its next record, and holds the answers until then.
        """
        without = records - with_bytes
        self.work += records + without * WITHOUT_BYTES
        self._unanswered += without
        if self._unanswered > MOST_UNANSWERED and not self.ended:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, f"more than {MOST_UNANSWERED} records without bytes of the stream")

    def seal(self, data: bytes | memoryview) -> bytes:
        """Encrypt the bytes. A reply that TLS itself has to send (KeyUpdate, RFC 8446, 4.6.3) goes before them."""
        self._unanswered = 0
        if len(data) <= PIECE:
            self._inner.write(data)
            return self._outgoing.read()
        return b"".join([self.seal(data[start : start + PIECE]) for start in range(0, len(data), PIECE)])

    def finish(self) -> bytes:
        with suppress(ssl.SSLWantReadError):  # the peer's close_notify may come later
            self._object.unwrap()
        return self._outgoing.read()

    def closed(self) -> None:
        """The connection has ended: the session can be resumed by the next one."""
        if self._last is not None:
            self._last.keep(self._object)
