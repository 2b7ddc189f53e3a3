"""The values of sticky cookies: the HMAC of a server's name. Pure."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from lb.http1.cookies import cookie_value
from lb.model import StickySpec

__all__ = ["StickyValues"]

VALUE_SIZE = 16
"""Bytes of a value before it is text: half of the hash, the least that RFC 2104 recommends."""


class StickyValues:
    """The values of the cookies of a pool. ``secret`` is the balancer's; a ``secret_file`` replaces it."""

    def __init__(self, spec: StickySpec, pool: str, secret: bytes) -> None:
        self.cookie = spec.cookie.encode()
        if spec.secret is not None:
            secret = str(spec.secret.value).encode()
        self._key = hmac.digest(secret, b"sticky cookies of pool " + pool.encode(), "sha256")

    def sent(self, cookies: bytes | None) -> bytes | None:
        """Return the value in a request's Cookie field; None if there is none."""
        return cookie_value(cookies, self.cookie) if cookies else None

    def of(self, server: str) -> bytes:
        """Return the value for a server."""
        return urlsafe_b64encode(hmac.digest(self._key, server.encode(), "sha256")[:VALUE_SIZE]).rstrip(b"=")

    def named(self, cookies: bytes | None, servers: Iterable[str]) -> str:
        """Return which of these servers a Cookie field names; empty if none. It costs a hash for each."""
        value = self.sent(cookies)
        return "" if value is None else next((server for server in servers if self.of(server) == value), "")
