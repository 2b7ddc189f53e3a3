"""SNI parsing: OpenSSL reads the server name from a client's first bytes. No I/O.

The handshake started here stops at the ClientHello: once OpenSSL reports the name, the handshake is aborted.
"""

from __future__ import annotations

import ssl

from lb.tls.layer import ignore_undecodable_names

__all__ = ["MAX_CLIENT_HELLO", "ClientHello", "NotTlsError"]

MAX_CLIENT_HELLO = 64 * 1024
"""Maximum bytes of a ClientHello. Current ones have a few hundred to two thousand."""


class NotTlsError(Exception):
    """The client's first bytes are not a TLS ClientHello. The text is OpenSSL's reason."""


class ClientHello:
    """A ClientHello, parsed as its bytes arrive."""

    def __init__(self) -> None:
        self._incoming = ssl.MemoryBIO()
        self._handshake = _CONTEXT.wrap_bio(self._incoming, ssl.MemoryBIO(), server_side=True)

    def read(self, received: bytes) -> str | None:
        """Add received bytes. Return the server name in lower case, "" without SNI, None while it is incomplete.

        Raises NotTlsError.
        """
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
