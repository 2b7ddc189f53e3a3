"""Session tickets that every worker accepts.

A client resumes its session with a ticket, which the server has encrypted with a key of its own. OpenSSL makes a random
key for each context, so a worker would accept only its own tickets: with two workers, half of the returning clients
would need a full handshake.
"""

from __future__ import annotations

import hashlib
import ssl

from lb.model import ListenerTlsSpec
from lb.tls.openssl import TICKET_KEYS_SIZE, openssl

__all__ = ["share_tickets", "ticket_keys"]


def ticket_keys(secret: bytes, spec: ListenerTlsSpec) -> bytes:
    """Derive the keys of a listener from a secret that all workers have.

    Listeners with other certificates or other demands on clients get other keys: a ticket must not carry a client past
    a check that it never passed.
    """
    known = hashlib.shake_256(secret)
    parts = [spec.client_certificate.encode(), spec.client_ca.content if spec.client_ca is not None else b""]
    for certificate in spec.certificates:
        parts += [certificate.chain.content, certificate.key.content]
    for part in parts:
        known.update(len(part).to_bytes(8, "big") + part)
    return known.digest(TICKET_KEYS_SIZE)


def share_tickets(context: ssl.SSLContext, keys: bytes) -> bool:
    """Set the ticket keys of a context. Return False if that is not possible here."""
    calls = openssl()
    if calls is None:
        return False
    calls.set_ticket_keys(context, keys)
    return True
