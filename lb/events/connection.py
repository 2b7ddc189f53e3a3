"""The record of a connection. Import it from :mod:`lb.events`."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import attrs

from lb.events.base import Event, Level
from lb.model.address import Client
from lb.model.decision import Decision

__all__ = ["Attempt", "ConnectionClosed", "EndedBy", "HttpConnectionClosed", "Reason"]

EndedBy: TypeAlias = Literal["client", "server", "lb"]
Reason: TypeAlias = Literal[
    "eof",
    "reset",
    "idle_timeout",
    "half_close_timeout",
    "no_server",
    "connect_failed",
    "denied",
    "bad_proxy_header",
    "tls_failed",
    "server_down",
    "primary_back",
    "server_removed",
    "stopped",
    "hold_timeout",
]


@attrs.frozen
class Attempt:
    """A failed attempt to connect to a server, with its duration in milliseconds."""

    server: str
    error: str
    ms: float


@attrs.define(eq=False, repr=False)
class ConnectionClosed(Event):
    """The record of a client connection, emitted once. Bytes count the relayed stream; ``bytes_in`` is from the client.

    Not frozen, unlike the other events, because it is created once per connection: 0.2 µs instead of 0.9 µs.
    """

    name = "connection.closed"
    id: int
    listener: str
    pool: str
    server: str | None
    client: Client
    attempts: tuple[Attempt, ...]
    connect_ms: float | None
    """Duration of the successful connect in milliseconds; None if there was none."""
    duration_ms: float
    bytes_in: int
    bytes_out: int
    ended_by: EndedBy
    reason: Reason
    peer: Client | None = None
    """The peer of the socket, if a PROXY header named another client."""
    decisions: tuple[Decision, ...] | None = None
    """The explanation of each pick; None if the connection is not in the sample."""


class HttpConnectionClosed(ConnectionClosed):
    """The record of a client connection of mode ``http``. Its requests have records of their own, with the servers.

    ``pool`` is empty and ``server`` is None.
    """

    __slots__ = ()
    level: ClassVar[Level] = "debug"
