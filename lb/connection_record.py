"""The record of a connection. A part of :mod:`lb.events`, from where everybody takes it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from lb.address import Client
from lb.event import Event
from lb.explain.decision import Decision

__all__ = ["Attempt", "ConnectionClosed", "EndedBy", "Reason"]

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
    "server_removed",
    "stopped",
    "hold_timeout",
]


@attrs.frozen
class Attempt:
    """A connect that failed, and how long it took in milliseconds."""

    server: str
    error: str
    ms: float


@attrs.define
class ConnectionClosed(Event):
    """The one record of a client connection. Bytes are those of the stream; ``bytes_in`` came from the client.

    Not frozen as the others are, though nobody changes it: of these many are made, and it takes 0.2 µs instead of 0.9.
    """

    name = "connection.closed"
    id: int
    listener: str
    pool: str
    server: str | None
    client: Client
    attempts: tuple[Attempt, ...]
    connect_ms: float | None
    """The connect that worked, milliseconds; None if none did."""
    duration_ms: float
    bytes_in: int
    bytes_out: int
    ended_by: EndedBy
    reason: Reason
    peer: Client | None = None
    """The socket's own peer, where a PROXY header named another client."""
    decisions: tuple[Decision, ...] | None = None
    """Why it got its server, a pick each; None for one that is not in the sample."""
