"""Sticky sessions: a cookie brings a client back to its server (HAProxy's ``cookie``, nginx's ``sticky cookie``).

The cookie's value is the HMAC of the server's name. So it is its own signature, and says nothing about the server: the
values of all servers of the pool are known, and a value is looked up among them. A look-up compares nothing of a wrong
value (its hash must be right first), so the time that it takes tells nothing about the right ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from lb.http.sticky_values import StickyValues
from lb.model import StickySpec
from lb.pools.backend import Backend
from lb.pools.pool import Pool

__all__ = ["Sticky"]


class Sticky:
    """The cookies of a pool. Those of another pool mean nothing here, even with the same secret.

    ``secret`` is the balancer's; a ``secret_file`` replaces it.
    """

    def __init__(self, spec: StickySpec, pool: Pool, secret: bytes) -> None:
        self._pool = pool
        self._of_pool = StickyValues(spec, pool.name, secret)
        self._backends: Mapping[str, Backend] = {}
        """Those that the values are of. The pool has other ones after each change of its list."""
        self._values: dict[str, bytes] = {}
        self._servers: dict[bytes, str] = {}

    def server_of(self, cookies: bytes | None) -> str | None:
        """Return the name of the server that a request's Cookie field names; None without one of this pool."""
        value = self._of_pool.sent(cookies)
        if value is None:
            return None
        if self._backends is not self._pool.backends:
            self._update()
        return self._servers.get(value)

    def set_cookie(self, server: str, *, secure: bool) -> bytes:
        """Return the value of Set-Cookie that names a server. ``secure``: the client came over TLS."""
        value = self._values.get(server) or self._of_pool.of(server)
        return b"%s=%s; Path=/; HttpOnly; SameSite=Lax%s" % (
            self._of_pool.cookie,
            value,
            b"; Secure" if secure else b"",
        )

    def _update(self) -> None:
        self._backends = self._pool.backends
        self._values = {name: self._values.get(name) or self._of_pool.of(name) for name in self._backends}
        self._servers = {value: name for name, value in self._values.items()}
