"""A request that somebody asks about, and what its listener would do with it. Values only: no I/O."""

from __future__ import annotations

import attrs

from lb.model.address import Client
from lb.model.http import RouteSpec, ToPool

__all__ = ["AskedRequest", "RoutedRequest"]


@attrs.frozen
class AskedRequest:
    """A request without a body, as a person writes it."""

    url: str
    """``https://www.example.com/a``. Host and path are those of the request. The scheme is that of the listener."""
    method: str = "GET"
    headers: tuple[str, ...] = ()
    """Lines ``Name: value``. A Host replaces that of the URL."""


@attrs.frozen
class RoutedRequest:
    """What happens to a request before a server is chosen for it."""

    asked: AskedRequest
    client: Client
    """Whom the pool sees, with the request: behind trusted proxies, the client that they name."""
    why: str
    """Why it gets its route, or none, in one line."""
    route: RouteSpec | None = None
    error: int = 0
    """The status of the error that it gets before any target; 0 = none."""
    answer: str = ""
    """What the balancer itself answers as the target of the route; empty if a server answers."""
    target: str = ""
    """The target of the request, as the server gets it; empty if none does."""
    host: str = ""
    """The Host that the server gets."""
    sticky_server: str = ""
    """The server that a sticky cookie of the request names; empty if there is no such cookie, or no secret for it."""

    cache_key: bytes = b""
    """The key that its cache looks for; empty if it looks for none."""

    @property
    def cache(self) -> str:
        """The name of the cache that is looked in; empty if none is."""
        return self.route.cache.zone.name if self.cache_key and self.route and self.route.cache else ""

    @property
    def pool(self) -> str:
        """The name of the pool whose server answers; empty if none does."""
        target = self.route.target if self.route is not None and not self.error else None
        return target.pool if isinstance(target, ToPool) else ""
