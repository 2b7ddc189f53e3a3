"""What happened, as frozen values. Observers (log, metrics, demo) hang on one sink; nothing is emitted per chunk.

The attributes of an event are the keys of its log line, ``name`` is the line's ``event``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, TypeAlias

import attrs

from lb.address import Client

__all__ = [
    "AcceptPaused",
    "AcceptResumed",
    "Attempt",
    "BackendEjected",
    "BackendRestored",
    "ConfigApplied",
    "ConfigRejected",
    "ConnectionClosed",
    "EndedBy",
    "Event",
    "Fault",
    "ListenerStarted",
    "ListenerStopped",
    "LogDropped",
    "Reason",
    "ResolveFailed",
    "ServerStarted",
    "ServerStopped",
    "ServerStopping",
    "Sink",
    "WorkerDied",
    "WorkerStarted",
]

EndedBy: TypeAlias = Literal["client", "server", "lb"]
Reason: TypeAlias = Literal[
    "eof",
    "reset",
    "idle_timeout",
    "half_close_timeout",
    "no_server",
    "connect_failed",
    "server_down",
    "server_removed",
    "stopped",
    "hold_timeout",
]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Event:
    """Base of all events."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]
    """The names of its fields."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"


Sink: TypeAlias = Callable[[Event], None]


@attrs.frozen
class ServerStarted(Event):
    name = "server.started"
    pid: int
    version: str
    config: str


@attrs.frozen
class ServerStopping(Event):
    name = "server.stopping"
    signal: str
    open_connections: int


@attrs.frozen
class ServerStopped(Event):
    name = "server.stopped"


@attrs.frozen
class WorkerStarted(Event):
    """A process that carries traffic has joined."""

    name = "worker.started"
    worker: int
    """From 0."""
    pid: int


@attrs.frozen
class WorkerDied(Event):
    """A process that carries traffic is gone, and its connections with it. Another takes its place."""

    name = "worker.died"
    level = "error"
    worker: int
    pid: int | None
    """None if it could not even be started."""
    reason: str
    connections: int
    """Those lost with it."""


@attrs.frozen
class ListenerStarted(Event):
    name = "listener.started"
    listener: str
    bind: str
    """The address really bound, with the port that the system chose for port 0."""


@attrs.frozen
class ListenerStopped(Event):
    name = "listener.stopped"
    listener: str
    bind: str


@attrs.frozen
class AcceptPaused(Event):
    """No descriptors left for both sides of a connection; new ones wait in the backlog. Said once per pause."""

    name = "accept.paused"
    level = "warning"
    reason: str
    worker: int | None = None
    """Whose descriptors; None if one process does everything."""


@attrs.frozen
class AcceptResumed(Event):
    name = "accept.resumed"
    worker: int | None = None


@attrs.frozen
class BackendEjected(Event):
    name = "backend.ejected"
    level = "warning"
    pool: str
    server: str
    reason: str
    source: Literal["active", "passive"]


@attrs.frozen
class BackendRestored(Event):
    name = "backend.restored"
    pool: str
    server: str


@attrs.frozen
class ResolveFailed(Event):
    """A host name could not be looked up; the last answer, if any, stays in use. Said once per failure streak."""

    name = "resolve.failed"
    level = "warning"
    pool: str
    server: str
    host: str
    error: str


@attrs.frozen
class ConfigApplied(Event):
    """Lists hold ``pool/server`` and listener names."""

    name = "config.applied"
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@attrs.frozen
class ConfigRejected(Event):
    name = "config.rejected"
    level = "error"
    errors: tuple[str, ...]


@attrs.frozen
class Fault(Event):
    """Something that is not the network's doing failed: a plug-in, an observer, or the balancer itself.

    ``where`` says which part; the log shows the traceback of ``exception``.
    """

    name = "fault"
    level = "error"
    where: str
    exception: BaseException


@attrs.frozen
class LogDropped(Event):
    """The log's reader was too slow; so many lines were thrown away."""

    name = "log.dropped"
    level = "warning"
    lines: int


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
