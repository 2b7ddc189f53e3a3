"""Session tickets that every worker accepts.

A client resumes its session with a ticket, which the server has encrypted with a key of its own. OpenSSL makes a random
key for each context, so a worker would accept only its own tickets: with two workers, half of the returning clients
would need a full handshake. Python's ssl has no call to set the key. OpenSSL has one, SSL_CTX_set_tlsext_ticket_keys(3),
which is reached here through ctypes. Where the interpreter or OpenSSL is not as expected, the keys stay per worker.
"""

from __future__ import annotations

import ctypes
import hashlib
import ssl
import sys
from importlib import import_module

from lb.model import ListenerTlsSpec

__all__ = ["share_tickets", "ticket_keys"]

KEYS_SIZE = 80
"""Bytes of the keys: 16 for the name, 32 for HMAC-SHA256, 32 for AES-256. OpenSSL 1.1.1 and newer report this size."""
GET_TICKET_KEYS, SET_TICKET_KEYS = 58, 59
"""SSL_CTRL_GET_TLSEXT_TICKET_KEYS and SSL_CTRL_SET_TLSEXT_TICKET_KEYS of openssl/ssl.h."""


def ticket_keys(secret: bytes, spec: ListenerTlsSpec) -> bytes:
    """Derive the keys of a listener from a secret that all workers have.

    Listeners with other certificates or other demands on clients get other keys: a ticket must not carry a client past
    a check that it never passed.
    """
    known = hashlib.shake_256(secret)
    parts = [spec.client_certificate, spec.client_ca.content if spec.client_ca is not None else b""]
    for certificate in spec.certificates:
        parts += [certificate.chain.content, certificate.key.content]
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        known.update(len(data).to_bytes(8, "big") + data)
    return known.digest(KEYS_SIZE)


def share_tickets(context: ssl.SSLContext, keys: bytes) -> bool:
    """Set the ticket keys of a context. Return False if that is not possible here."""
    if sys.implementation.name != "cpython":
        return False
    try:
        control = ctypes.CDLL(import_module("_ssl").__file__).SSL_CTX_ctrl
    except (OSError, AttributeError):  # OpenSSL is linked statically, without its symbols
        return False
    control.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p]
    control.restype = ctypes.c_long
    # The first member of CPython's PySSLContext, after the object's head, is the SSL_CTX (Modules/_ssl.c).
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    if control(pointer, GET_TICKET_KEYS, 0, None) != KEYS_SIZE:
        return False
    return bool(control(pointer, SET_TICKET_KEYS, KEYS_SIZE, keys) == 1)
