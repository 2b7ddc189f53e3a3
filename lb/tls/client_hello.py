"""Which server a TLS client asks for, read from its first bytes by OpenSSL. No I/O.

The handshake that is begun here goes no further than the ClientHello: once OpenSSL has told the name, it is given up.
"""

from __future__ import annotations

import ssl

from lb.tls.layer import names_as_they_come

__all__ = ["LARGEST", "ClientHello", "NotTlsError"]

LARGEST = 64 * 1024
"""Bytes of a ClientHello that are looked at. Those of today have a few hundred to two thousand."""


class NotTlsError(Exception):
    """The client does not begin as TLS does; the text says what OpenSSL minds."""


class ClientHello:
    """What a client says first, as it comes in."""

    def __init__(self) -> None:
        self._incoming = ssl.MemoryBIO()
        self._handshake = _CONTEXT.wrap_bio(self._incoming, ssl.MemoryBIO(), server_side=True)

    def read(self, more: bytes) -> str | None:
        """The name in it, in lower case, "" if it names none; None as long as it is not whole. Raises NotTlsError."""
        self._incoming.write(more)
        try:
            with names_as_they_come():
                self._handshake.do_handshake()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            found = getattr(self._handshake, "found", None)
            if found is None:
                raise NotTlsError(error.reason or str(error)) from error
            return str(found)
        raise AssertionError("a handshake without a certificate has ended well")


def _note(hello: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int:
    """OpenSSL's call, with the name or without one; the answer ends the handshake."""
    hello.found = (name or "").lower()  # type: ignore[attr-defined]
    return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR


def _context() -> ssl.SSLContext:
    """Whatever the client can do is fine: whether it is good enough is for the server to say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    context.sni_callback = _note
    return context


_CONTEXT = _context()
