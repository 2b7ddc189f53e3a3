"""SNI parsing: the server name in a client's first bytes. No I/O.

A ClientHello as nearly all clients send it, whole and in one record, is read here. OpenSSL reads all others, for ten
times the cost, and decides what is no ClientHello. Its handshake stops there: once it reports the name, it is aborted.
"""

from __future__ import annotations

import ssl
import struct

from lb.tls.layer import ignore_undecodable_names

__all__ = ["MAX_CLIENT_HELLO", "ClientHello", "NotTlsError", "usual_name"]

MAX_CLIENT_HELLO = 64 * 1024
"""Maximum bytes of a ClientHello. Current ones have a few hundred to two thousand."""


class NotTlsError(Exception):
    """The client's first bytes are not a TLS ClientHello. The text is OpenSSL's reason."""


class ClientHello:
    """A ClientHello, parsed as its bytes arrive."""

    def __init__(self) -> None:
        self._incoming: ssl.MemoryBIO | None = None
        self._handshake: ssl.SSLObject

    def read(self, received: bytes) -> str | None:
        """Add received bytes. Return the server name in lower case, "" without SNI, None while it is incomplete.

        Raises NotTlsError.
        """
        if self._incoming is None:
            name = usual_name(received)
            if name is not None:
                return name
            self._incoming = ssl.MemoryBIO()
            self._handshake = _CONTEXT.wrap_bio(self._incoming, ssl.MemoryBIO(), server_side=True)
        self._incoming.write(received)
        try:
            with ignore_undecodable_names():
                self._handshake.do_handshake()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            found = getattr(self._handshake, "found", None)
            if found is None:
                raise NotTlsError(error.reason or str(error)) from error
            return str(found)
        raise AssertionError("a handshake without a certificate has succeeded")


_RECORD = struct.Struct("!BBxHB")
"""Type, major version and length of the record (RFC 8446, 5.1); type of the handshake message (4)."""
_LENGTH = struct.Struct("!H")
_EXTENSION = struct.Struct("!HH")
_NAMES = struct.Struct("!HBH")
"""Length of the list, type and length of its first name (RFC 6066, 3)."""
_HANDSHAKE, _CLIENT_HELLO, _MAJOR, _LONGEST = 22, 1, 3, 1 << 14
_SESSION_ID = 43
"""Position after the record's head, the message's head, the version and the random bytes."""


def usual_name(received: bytes) -> str | None:
    """Return the server name of a ClientHello in one whole record, in lower case; "" without SNI.

    None for all bytes that are not exactly that.
    """
    try:
        kind, major, length, message = _RECORD.unpack_from(received)
        end = 5 + length
        if (kind, major, message) != (_HANDSHAKE, _MAJOR, _CLIENT_HELLO) or not end <= len(received):
            return None
        if length > _LONGEST or int.from_bytes(received[6:9], "big") != length - 4:
            return None
        position = _SESSION_ID + 1 + received[_SESSION_ID]
        position += 2 + _LENGTH.unpack_from(received, position)[0]  # cipher suites
        position += 1 + received[position]  # compression methods
        if position + 2 + _LENGTH.unpack_from(received, position)[0] != end:
            return None
        return _name_in(received, position + 2, end)
    except (struct.error, IndexError):
        return None


def _name_in(received: bytes, position: int, end: int) -> str | None:
    """Return the name in the extensions. None if they are not as expected."""
    found = None
    while position < end:
        kind, length = _EXTENSION.unpack_from(received, position)
        position += _EXTENSION.size
        if not kind:
            names, name_type, size = _NAMES.unpack_from(received, position)
            if found is not None or name_type or not names - 3 == length - 5 == size > 0:
                return None
            found = received[position + 5 : position + length]
        position += length
    if position != end:
        return None
    if not found:
        return ""
    return found.decode("ascii").lower() if found.isascii() and b"\0" not in found else None


def _store_name(hello: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int:
    """OpenSSL's SNI callback, with or without a name. The returned alert aborts the handshake."""
    hello.found = (name or "").lower()  # type: ignore[attr-defined]
    return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR


def _context() -> ssl.SSLContext:
    """Return a context that accepts every version and cipher: the server behind the balancer decides about them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    context.sni_callback = _store_name
    return context


_CONTEXT = _context()
