"""The record of an HTTP request. Import it from :mod:`lb.events`."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from lb.events.base import Event
from lb.events.connection import Attempt
from lb.model.address import Client

__all__ = ["ForwardAuthFailed", "HttpRequest", "RequestReason"]

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
]


@attrs.define
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
    """None if the client got no response."""
    bytes_in: int
    bytes_out: int
    duration_ms: float
    """From the request's head until the last byte of the response was sent."""
    wait_ms: float | None
    """From the request's head until the response's head; None if there was none."""
    pool: str
    """Empty if the route has none."""
    server: str | None
    attempts: tuple[Attempt, ...]
    """Failed attempts."""
    cache: str | None
    reason: RequestReason


@attrs.frozen
class ForwardAuthFailed(Event):
    """A server that a route asks with ``forward_auth`` gave no answer. Emitted at most once a minute."""

    name = "forward_auth.failed"
    level = "warning"
    url: str
    """Without its query."""
    error: str
    failures: int
    """Number of requests that got no answer since the last such event."""
