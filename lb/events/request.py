"""The record of an HTTP request. Import it from :mod:`lb.events`."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from lb.events.base import Event, frozen_event
from lb.events.connection import Attempt
from lb.model.address import Client
from lb.model.purge import PurgeKind

__all__ = [
    "CacheFillFailed",
    "CachePurged",
    "FailedResponse",
    "ForwardAuthFailed",
    "Http2Flood",
    "HttpRequest",
    "ProxiedRequest",
    "RequestReason",
    "UnloggedRequest",
]

RequestReason: TypeAlias = Literal[
    "ok",
    "client_left",
    "bad_request",
    "too_large",
    "no_route",
    "denied",
    "auth",
    "rate",
    "no_server",
    "connect_failed",
    "timeout",
    "server_reset",
    "bad_response",
    "server_down",
    "stopped",
    "denied_target",
    "resolve_failed",
]


@attrs.frozen
class FailedResponse(Attempt):
    """An attempt that failed after the connect: a reset, no response in time, or one that may be asked for again."""


@attrs.define(eq=False, repr=False)
class HttpRequest(Event):
    """The record of one request, emitted once. Bytes count bodies; ``bytes_in`` is from the client.

    Not frozen, as :class:`lb.events.ConnectionClosed` is not.
    """

    name = "http.request"
    id: str
    """The X-Request-Id."""
    listener: str
    route: str
    """The route's name; empty if no route took the request."""
    client: Client
    """Behind trusted proxies, the client that they name."""
    method: str
    host: str
    path: str
    """Without the query, as sent."""
    version: str
    """``1.0``, ``1.1`` or ``2``; empty if the request line was not valid."""
    status: int | None
    """From 100 to 599; None if the client got no response."""
    bytes_in: int
    bytes_out: int
    duration_ms: float
    """From the request's head until the last byte of the response was sent."""
    wait_ms: float | None
    """From the request's head until the response's head; None if there was none."""
    pool: str
    """Empty if the route has none."""
    server: str | None
    """The server that the response came from, or that the request was with when it ended; None if there was none."""
    attempts: tuple[Attempt, ...]
    """Failed attempts before ``server``: failed connects, and instances of :class:`FailedResponse`."""
    cache: str | None
    reason: RequestReason
    grpc_status: int | None = None
    """Of a call of gRPC; None without one, and for any other request."""


@attrs.define(eq=False, repr=False)
class ProxiedRequest(HttpRequest):
    """The record of a request to a forward proxy."""

    user: str | None = None
    """None without ``auth``, and if the client has not told it."""


class UnloggedRequest(HttpRequest):
    """The record of a request of a listener with ``access_log = false``: counted, but not written to the log."""

    __slots__ = ()


@frozen_event
class ForwardAuthFailed(Event):
    """A server that a route asks with ``forward_auth`` gave no answer. Emitted at most once a minute."""

    name = "forward_auth.failed"
    level = "warning"
    url: str
    """Without its query."""
    error: str
    failures: int
    """Number of requests that got no answer since the last such event."""


@frozen_event
class Http2Flood(Event):
    """A client's HTTP/2 connection did too much that costs work and brings nothing, and was ended.

    Emitted at most once a minute for a listener.
    """

    name = "http2.flood"
    level = "warning"
    listener: str
    client: Client
    """The peer, or the client that a PROXY header names."""
    problem: str
    connections: int
    """Number of connections that ended so since the last such event."""


@attrs.frozen
class CacheFillFailed(Event):
    """A server did not answer a request of the cache, or not completely."""

    name = "cache.fill_failed"
    level = "warning"
    zone: str
    host: str
    path: str
    """Without the query."""
    server: str | None
    """The server that had the request; None if there was none."""
    reason: RequestReason


@attrs.frozen
class CachePurged(Event):
    """An operator purged a cache through the admin endpoint."""

    name = "cache.purged"
    zone: str
    by: PurgeKind
    text: str
    """The URL, its beginning, or the tag."""
    purged: int
    """Number of responses that were removed."""
