"""What happened, as frozen values. Observers (log, metrics, demo) hang on one sink; nothing is emitted per chunk.

The attributes of an event are the keys of its log line, ``name`` is the line's ``event``.
"""

from __future__ import annotations

from typing import Literal

import attrs

from lb.connection_record import Attempt, ConnectionClosed, EndedBy, Reason
from lb.event import Event, Sink

__all__ = [
    "AcceptPaused",
    "AcceptResumed",
    "AdminStarted",
    "Attempt",
    "BackendAdvised",
    "BackendEjected",
    "BackendOverridden",
    "BackendRestored",
    "BackendSlow",
    "CheckWarning",
    "ConfigApplied",
    "ConfigRejected",
    "ConnectionClosed",
    "DiscoveryFailed",
    "DiscoveryRestored",
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
class AdminStarted(Event):
    name = "admin.started"
    bind: str
    """The address really bound."""


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
    source: Literal["active", "passive", "outlier"]


@attrs.frozen
class BackendRestored(Event):
    name = "backend.restored"
    pool: str
    server: str


@attrs.frozen
class BackendSlow(Event):
    """A server is much slower than the others of its pool, and stays in service, as this is a dry run."""

    name = "backend.slow"
    level = "warning"
    pool: str
    server: str
    reason: str


@attrs.frozen
class CheckWarning(Event):
    """A check passed, and found something that somebody should see to. Said again when it says something else."""

    name = "check.warning"
    level = "warning"
    pool: str
    server: str
    warning: str


@attrs.frozen
class BackendOverridden(Event):
    """An operator has drained, enabled or weighed a server, over the admin endpoint."""

    name = "backend.overridden"
    pool: str
    server: str
    drained: bool
    weight: int
    """In force from now on."""


@attrs.frozen
class BackendAdvised(Event):
    """A server's agent asks for something else than before."""

    name = "backend.advised"
    pool: str
    server: str
    share: int
    """Of its weight, percent; at 0 it gets no new connections."""
    admin: Literal["ready", "drain", "maint"]


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
class DiscoveryFailed(Event):
    """Servers could not be looked up in DNS or read from their file; the last good set stays. Said once per streak."""

    name = "discovery.failed"
    level = "warning"
    pool: str
    source: str
    """``dns web.internal:80`` or ``file web.servers``."""
    errors: tuple[str, ...]
    servers: int
    """How many of that source stay in use."""


@attrs.frozen
class DiscoveryRestored(Event):
    """A look at the source worked again."""

    name = "discovery.restored"
    pool: str
    source: str
    failures: int
    """How many looks had failed."""
    servers: int
    """How many there are now."""


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
