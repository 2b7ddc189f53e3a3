"""Which routes of which listeners serve an application's streams or films. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from lb.config.route_text import routes_of
from lb.model import ListenerSpec, RouteSpec, ToMedia
from lb.model.viewer_link import viewer_link

__all__ = ["StreamRoute", "place_of", "stream_routes"]


@attrs.frozen
class StreamRoute:
    """A route with ``media``, and its listener."""

    listener: ListenerSpec
    route: RouteSpec

    @property
    def scheme(self) -> str:
        return "http" if self.listener.tls is None else "https"

    @property
    def path(self) -> str:
        """It ends with a slash."""
        return self.route.path.rstrip("/") + "/"

    @property
    def needs_login(self) -> bool:
        return self.route.auth is not None or bool(self.route.forward_auth)

    def origin(self, bound: str, otherwise: str) -> str:
        """Return scheme, host and port. ``bound`` is the address of a socket of the listener.

        The host is one that the route or a certificate names, or the address; ``otherwise`` if that is any.
        """
        return f"{self.scheme}://{place_of(self.listener, bound, otherwise, self.route.hosts)}"

    def link(self, expires: int) -> str:
        """Return the path with a link for viewers that is valid until then, if the route needs one."""
        secret = self.route.viewer_secret
        return self.path if secret is None else viewer_link(secret, self.route.path, expires) + self.path


def place_of(listener: ListenerSpec, bound: str, otherwise: str, hosts: Iterable[str] = ()) -> str:
    """Return host and port of a listener, see :meth:`StreamRoute.origin`."""
    host, _, port = bound.rpartition(":")
    names = [*hosts, *(listener.tls.certificates[0].names if listener.tls else ())]
    named = next((name for name in names if "*" not in name), "")
    is_any = host in ("", "0.0.0.0", "[::]")  # noqa: S104 - compared only
    return f"{named or (otherwise if is_any else host)}:{port}"


def stream_routes(listeners: Iterable[ListenerSpec], app: str) -> Iterator[StreamRoute]:
    """Yield the routes that serve an application, first those that need no login."""
    found = [
        StreamRoute(listener, route)
        for listener in listeners
        for route in routes_of(listener)
        if isinstance(route.target, ToMedia) and route.target.media == app
    ]
    yield from sorted(found, key=lambda each: each.needs_login)
