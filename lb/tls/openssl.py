"""What OpenSSL can do and Python's ssl cannot: ticket keys, sessions that are resumed without a copy, a client's SNI.

Python's ``SSLObject.session`` copies a session with its certificate at each get and set, which costs as much as the
resumption saves. The calls here reach OpenSSL through ctypes. They need two addresses from CPython's structures
(Modules/_ssl.c), which are checked once, before the first call. Where the interpreter or OpenSSL is not as expected,
:func:`openssl` returns None: ticket keys stay per process, and sessions with servers are not resumed.
"""

from __future__ import annotations

import ctypes
import functools
import ssl
import sys
from importlib import import_module

__all__ = ["TICKET_KEYS_SIZE", "ClientSession", "OpenSsl", "openssl"]

TICKET_KEYS_SIZE = 80
"""Bytes of the keys: 16 for the name, 32 for HMAC-SHA256, 32 for AES-256. OpenSSL 1.1.1 and newer report this size."""
GET_TICKET_KEYS, SET_TICKET_KEYS = 58, 59
"""SSL_CTRL_GET_TLSEXT_TICKET_KEYS and SSL_CTRL_SET_TLSEXT_TICKET_KEYS of openssl/ssl.h."""
SENT_AND_RECEIVED = 3
"""SSL_SENT_SHUTDOWN and SSL_RECEIVED_SHUTDOWN of openssl/ssl.h."""
HOST_NAME = 0
"""TLSEXT_NAMETYPE_host_name of openssl/tls1.h."""
WORD = ctypes.sizeof(ctypes.c_void_p)
HEAD = object.__basicsize__
"""Bytes of the head of every Python object."""


def _word(owner: object, offset: int) -> int:
    """Return the pointer at an offset behind the head of a Python object."""
    return ctypes.c_void_p.from_address(id(owner) + HEAD + offset).value or 0


class ClientSession:
    """A TLS session of a client. Connections with the same context may resume it, several at a time."""

    __slots__ = ("_library", "pointer")

    def __init__(self, library: ctypes.CDLL, pointer: int) -> None:
        self._library = library
        self.pointer = pointer

    def __del__(self) -> None:
        self._library.SSL_SESSION_free(self.pointer)


class OpenSsl:
    """The calls. ``library`` is the OpenSSL that Python's ssl uses."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        signatures = {
            "SSL_CTX_ctrl": ([ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p], ctypes.c_long),
            "SSL_get_SSL_CTX": ([ctypes.c_void_p], ctypes.c_void_p),
            "SSL_get1_session": ([ctypes.c_void_p], ctypes.c_void_p),
            "SSL_set_shutdown": ([ctypes.c_void_p, ctypes.c_int], None),
            "SSL_set_session": ([ctypes.c_void_p, ctypes.c_void_p], ctypes.c_int),
            "SSL_get_servername": ([ctypes.c_void_p, ctypes.c_int], ctypes.c_char_p),
            "SSL_SESSION_free": ([ctypes.c_void_p], None),
            "SSL_SESSION_is_resumable": ([ctypes.c_void_p], ctypes.c_int),
        }
        for name, (arguments, result) in signatures.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, result

    def works(self) -> bool:
        """Check that Python's structures are as expected: a context and a connection refer to each other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="example.org")
        inner = connection._sslobj  # type: ignore[attr-defined]  # noqa: SLF001 - the object of the C module
        if _word(inner, 2 * WORD) != id(context):
            return False
        pointer = _word(context, 0)
        return bool(
            self._library.SSL_get_SSL_CTX(_word(inner, WORD)) == pointer
            and self._library.SSL_CTX_ctrl(pointer, GET_TICKET_KEYS, 0, None) == TICKET_KEYS_SIZE
        )

    def set_ticket_keys(self, context: ssl.SSLContext, keys: bytes) -> None:
        """Set the keys of a server's session tickets, TICKET_KEYS_SIZE bytes."""
        if not self._library.SSL_CTX_ctrl(_word(context, 0), SET_TICKET_KEYS, len(keys), keys):
            raise ssl.SSLError(f"OpenSSL refused {len(keys)} bytes of ticket keys")

    def keep_valid(self, connection: ssl.SSLObject) -> None:
        """Keep the session valid after the end of this connection, also one without close_notify."""
        self._library.SSL_set_shutdown(self._pointer(connection), SENT_AND_RECEIVED)

    def session(self, connection: ssl.SSLObject) -> ClientSession | None:
        """Return the session of a connection; None if it cannot be resumed, or not yet."""
        pointer = self._library.SSL_get1_session(self._pointer(connection))
        if not pointer:
            return None
        session = ClientSession(self._library, pointer)
        return session if self._library.SSL_SESSION_is_resumable(pointer) else None

    def resume(self, connection: ssl.SSLObject, session: ClientSession) -> None:
        """Offer a session in the handshake of this connection, which has not begun."""
        self._library.SSL_set_session(self._pointer(connection), session.pointer)

    def server_name(self, connection: ssl.SSLObject) -> str | None:
        """Return the server name (SNI) that a client has sent; None if it sent none."""
        name: bytes | None = self._library.SSL_get_servername(self._pointer(connection), HOST_NAME)
        return None if name is None else name.decode("ascii", errors="replace")

    @staticmethod
    def _pointer(connection: ssl.SSLObject) -> int:
        return _word(connection._sslobj, WORD)  # type: ignore[attr-defined]  # noqa: SLF001 - the object of the C module


@functools.cache
def openssl() -> OpenSsl | None:
    """Return the calls; None where they are not to be had."""
    if sys.implementation.name != "cpython":
        return None
    try:
        calls = OpenSsl(ctypes.CDLL(import_module("_ssl").__file__))
    except (OSError, AttributeError):  # OpenSSL is linked statically, without its symbols
        return None
    return calls if calls.works() else None
