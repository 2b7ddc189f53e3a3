"""Events of processes: start and stop, listeners, reloads, upgrades, workers, faults."""

from __future__ import annotations

from typing import Literal

from lb.events.base import Event, frozen_event

__all__ = [
    "AcceptPaused",
    "AcceptResumed",
    "AdminBadRequest",
    "AdminStarted",
    "AnnounceChanged",
    "AnnounceDown",
    "AnnounceFailed",
    "AnnounceUp",
    "ConfigApplied",
    "ConfigChanged",
    "ConfigRejected",
    "Fault",
    "ListenerStarted",
    "ListenerStopped",
    "LogDropped",
    "NotifyFailed",
    "ServerStarted",
    "ServerStopped",
    "ServerStopping",
    "SocketUnused",
    "UpgradeDone",
    "UpgradeFailed",
    "UpgradeIgnored",
    "UpgradeStarted",
    "WorkerDied",
    "WorkerStarted",
]


@frozen_event
class ServerStarted(Event):
    name = "server.started"
    pid: int
    version: str
    config: str


@frozen_event
class ServerStopping(Event):
    name = "server.stopping"
    signal: str
    open_connections: int


@frozen_event
class ServerStopped(Event):
    name = "server.stopped"


@frozen_event
class WorkerStarted(Event):
    """A worker process started."""

    name = "worker.started"
    worker: int
    """Number of the worker, from 0."""
    pid: int


@frozen_event
class WorkerDied(Event):
    """A worker process ended unexpectedly, and its connections are lost. A new worker replaces it."""

    name = "worker.died"
    level = "error"
    worker: int
    pid: int | None
    """None if the worker could not be started."""
    reason: str
    connections: int
    """Number of lost connections."""


@frozen_event
class AdminStarted(Event):
    name = "admin.started"
    bind: str
    """The bound address."""


@frozen_event
class AdminBadRequest(Event):
    """A client of the admin endpoint sent no HTTP, or not all of a request."""

    name = "admin.bad_request"
    level = "debug"
    client: str
    reason: str


@frozen_event
class AnnounceUp(Event):
    """Announced addresses stand on their interface from now on."""

    name = "announce.up"
    addresses: tuple[str, ...]
    """As ``203.0.113.5/32``."""
    interface: str


@frozen_event
class AnnounceDown(Event):
    """Announced addresses were removed from their interface."""

    name = "announce.down"
    level = "warning"
    addresses: tuple[str, ...]
    interface: str
    reason: str
    """``not ready: <pools>``; ``stopping``; or ``removed``, from the configuration."""


@frozen_event
class AnnounceChanged(Event):
    """Something else than this balancer has set or removed announced addresses. That is undone.

    Emitted for the first time and, if it happens again, once more; then not before there was calm for five minutes.
    """

    name = "announce.changed"
    level = "warning"
    addresses: tuple[str, ...]
    interface: str
    change: Literal["set", "removed"]
    undone_in: float
    """Seconds until it is undone: a moment, and then longer and longer if it happens again and again."""


@frozen_event
class AnnounceFailed(Event):
    """The kernel refused to set or remove addresses. Tried again every second; emitted once until it succeeds."""

    name = "announce.failed"
    level = "error"
    addresses: tuple[str, ...]
    interface: str
    error: str


@frozen_event
class ListenerStarted(Event):
    name = "listener.started"
    listener: str
    bind: str
    """The bound address, with the port that the system chose for port 0."""


@frozen_event
class ListenerStopped(Event):
    name = "listener.stopped"
    listener: str
    bind: str


@frozen_event
class AcceptPaused(Event):
    """Too few file descriptors for another connection; new ones wait in the backlog. Emitted once per pause."""

    name = "accept.paused"
    level = "warning"
    reason: str
    worker: int | None = None
    """The worker that is out of descriptors; None with a single process."""


@frozen_event
class AcceptResumed(Event):
    name = "accept.resumed"
    worker: int | None = None


@frozen_event
class ConfigApplied(Event):
    """A configuration took effect. The lists hold ``pool/server`` and listener names."""

    name = "config.applied"
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@frozen_event
class ConfigChanged(Event):
    """Files of the configuration hold something else, and have settled: it is reloaded."""

    name = "config.changed"
    files: tuple[str, ...]


@frozen_event
class ConfigRejected(Event):
    name = "config.rejected"
    level = "error"
    errors: tuple[str, ...]


@frozen_event
class Fault(Event):
    """An internal error: in a plug-in, an observer, or the balancer itself. Network errors are no faults.

    ``where`` names the component; the log shows the traceback of ``exception``.
    """

    name = "fault"
    level = "error"
    where: str
    exception: BaseException


@frozen_event
class LogDropped(Event):
    """The reader of the log was too slow, and ``lines`` log lines were dropped."""

    name = "log.dropped"
    level = "warning"
    lines: int


@frozen_event
class UpgradeStarted(Event):
    """An upgrade started: the successor process was started."""

    name = "upgrade.started"
    pid: int


@frozen_event
class UpgradeDone(Event):
    """The successor serves; this process lets its connections finish."""

    name = "upgrade.done"
    pid: int


@frozen_event
class UpgradeFailed(Event):
    """The successor could not take over; this process continues to serve."""

    name = "upgrade.failed"
    level = "error"
    reason: str


@frozen_event
class UpgradeIgnored(Event):
    """An upgrade was requested, but no process was started."""

    name = "upgrade.ignored"
    level = "warning"
    reason: str


@frozen_event
class SocketUnused(Event):
    """The service manager passed a listening socket that no listener uses."""

    name = "socket.unused"
    level = "warning"
    bind: str
    socket: str
    """The socket's name in its unit."""


@frozen_event
class NotifyFailed(Event):
    """A notification to the service manager failed. Emitted once."""

    name = "notify.failed"
    level = "warning"
    error: str
