"""The settings of mode ``http`` as configured: routes and their targets, users, requests to servers."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import attrs

from lb.model.address import Networks
from lb.model.cache import RouteCache
from lb.model.plugin import Secret

__all__ = [
    "Files",
    "HeaderEdits",
    "HttpPoolSpec",
    "HttpSettings",
    "Rate",
    "Redirect",
    "Respond",
    "RetryOn",
    "RouteSpec",
    "RouteTarget",
    "StatusRange",
    "StickySpec",
    "ToMedia",
    "ToPool",
    "UsersSpec",
]

RetryOn: TypeAlias = Literal["reset", "timeout", "502", "503", "504", "grpc_unavailable"]


class Rate(float):
    """Events a second. Other floats in the configuration are durations."""


class StatusRange(NamedTuple):
    """Statuses from ``first`` to ``last``."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@attrs.frozen
class ToPool:
    """Requests go to a server of this pool."""

    pool: str


@attrs.frozen
class ToMedia(ToPool):
    """Requests go to the process of an application for live streams, or of one for films."""

    media: str = ""


@attrs.frozen
class Files:
    """Requests are answered with files of this directory, an absolute path."""

    directory: str


@attrs.frozen
class Redirect:
    """Requests are answered with this Location, which may hold ``{…}``."""

    location: str
    status: int = 308


@attrs.frozen
class Respond:
    """Requests are answered with this text."""

    text: str
    status: int = 200


RouteTarget: TypeAlias = ToPool | Files | Redirect | Respond


def _names(fields: tuple[tuple[str, str], ...]) -> str:
    return repr(tuple(name for name, _ in fields))


@attrs.frozen
class HeaderEdits:
    """Changes of a head's fields: first ``remove``, then ``set`` (replaces all of that name), then ``add``.

    Names are as configured; values may hold ``{…}``. When printed, it has the names only: a value may be a login.
    """

    set: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=_names)
    add: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=_names)
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.add or self.remove)


@attrs.frozen
class UsersSpec:
    """A table ``[users.NAME]``: who may pass, by an htpasswd file."""

    name: str
    realm: str
    file: str
    """As configured; for messages."""
    hashes: tuple[tuple[str, Secret], ...] = ()
    """User names and password hashes, as the file had them when the configuration was read."""


@attrs.frozen
class RouteSpec:
    """A route: the requests that it takes, what is done with them, and what happens on the way."""

    name: str
    target: RouteTarget
    hosts: tuple[str, ...] = ()
    """In lower case; ``*.example.com`` is a wildcard. Empty = any host."""
    path: str = "/"
    """A prefix that ends at a segment's end, or, if ``exact``, the whole path."""
    exact: bool = False
    methods: tuple[str, ...] = ()
    """Empty = any method."""
    strip_prefix: str = ""
    add_prefix: str = ""
    host_header: str = "client"
    """``client``: as sent; ``server``: the server's address; or a text."""
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()
    auth: UsersSpec | None = None
    forward_auth: str = ""
    """The URL that is asked first; empty = none."""
    auth_headers: tuple[str, ...] = ()
    """Names of response fields of ``forward_auth`` that are copied to the request."""
    compress: bool = False
    rate: Rate = Rate(0)
    """Requests a second of one client; 0 = no limit."""
    burst: int = 20
    limit_rate: int = 0
    """Bytes a second of one response; 0 = no limit."""
    limit_rate_after: int = 0
    """Bytes of a response that pass without limit."""
    cache: RouteCache | None = None
    viewer_secret: Secret | None = None
    """The content of ``viewer_secret_file``, in bytes: requests need a link. None = none."""


@attrs.frozen
class HttpSettings:
    """The keys of mode ``http``."""

    pool: str = ""
    """The pool of requests that no route takes; empty = they get 404."""
    routes: tuple[RouteSpec, ...] = ()
    keep_alive: float = 60.0
    """Seconds that an idle connection of a client stays open; 0 = one request a connection."""
    idle_timeout: float = 60.0
    max_header: int = 32 * 1024
    max_body: int = 0
    """0 = no limit."""
    trusted_proxies: Networks = attrs.field(factory=Networks)
    access_log: bool = True
    h2c: bool = False
    """Clients without TLS may speak HTTP/2, beside HTTP/1: those that know that the listener does."""

    @property
    def pools(self) -> tuple[str, ...]:
        targets = [route.target.pool for route in self.routes if isinstance(route.target, ToPool)]
        return tuple(dict.fromkeys([self.pool, *targets] if self.pool else targets))


@attrs.frozen
class HttpPoolSpec:
    """``[pools.NAME.http]``: requests to the servers of a pool."""

    protocol: Literal["http/1.1", "h2"] = "http/1.1"
    """``h2``: HTTP/2, agreed upon in the TLS handshake (ALPN), without TLS by prior knowledge (RFC 9113, section 3)."""
    max_streams: int = 100
    """Most exchanges at a time on a connection of HTTP/2."""
    keep_alive: int = 32
    """Idle connections to a server that stay open, per worker; 0 = none."""
    keep_alive_timeout: float = 60.0
    response_timeout: float = 60.0
    """Seconds from the request until the response's head."""
    retry_on: tuple[RetryOn, ...] = ("reset",)
    retry_buffer: int = 64 * 1024
    """Maximum bytes of a request's body that are kept for a retry."""


@attrs.frozen
class StickySpec:
    """Sticky sessions: a signed cookie names the server."""

    cookie: str
    secret: Secret | None = None
    """The content of ``secret_file``; None = a secret drawn at start."""
