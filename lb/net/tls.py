"""TLS contexts of clients: what connections and checks to servers have in common."""

from __future__ import annotations

import ssl

__all__ = ["verifying_context"]


def verifying_context(*, verify: bool, authorities: str = "") -> ssl.SSLContext:
    """Make a context for TLS 1.2 and newer that verifies a server's chain and name, or nothing.

    ``authorities`` is the text of PEM certificates to trust; empty means those of the system, which take 50 ms to load.
    Raises ssl.SSLError for a text without certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities:
        context.load_verify_locations(cadata=authorities)
    else:
        context.load_default_certs()
    return context
