"""Events as frozen values. One sink passes them to all observers (log, metrics, demo). No event is emitted per chunk.

The attributes of an event are the keys of its log line; ``name`` is the value of ``event``.
"""

from __future__ import annotations

from lb.events.backends import (
    BackendAdvised,
    BackendEjected,
    BackendOverridden,
    BackendRestored,
    BackendSlow,
    ChecksLate,
    CheckWarning,
    DiscoveryFailed,
    DiscoveryRestored,
    ResolveFailed,
)
from lb.events.base import Event, Level, Sink
from lb.events.connection import Attempt, ConnectionClosed, EndedBy, Reason
from lb.events.process import (
    AcceptPaused,
    AcceptResumed,
    AdminBadRequest,
    AdminStarted,
    ConfigApplied,
    ConfigRejected,
    Fault,
    ListenerStarted,
    ListenerStopped,
    LogDropped,
    NotifyFailed,
    ServerStarted,
    ServerStopped,
    ServerStopping,
    SocketUnused,
    UpgradeDone,
    UpgradeFailed,
    UpgradeIgnored,
    UpgradeStarted,
    WorkerDied,
    WorkerStarted,
)
from lb.events.request import ForwardAuthFailed, HttpRequest, RequestReason

__all__ = [
    "AcceptPaused",
    "AcceptResumed",
    "AdminBadRequest",
    "AdminStarted",
    "Attempt",
    "BackendAdvised",
    "BackendEjected",
    "BackendOverridden",
    "BackendRestored",
    "BackendSlow",
    "CheckWarning",
    "ChecksLate",
    "ConfigApplied",
    "ConfigRejected",
    "ConnectionClosed",
    "DiscoveryFailed",
    "DiscoveryRestored",
    "EndedBy",
    "Event",
    "Fault",
    "ForwardAuthFailed",
    "HttpRequest",
    "Level",
    "ListenerStarted",
    "ListenerStopped",
    "LogDropped",
    "NotifyFailed",
    "Reason",
    "RequestReason",
    "ResolveFailed",
    "ServerStarted",
    "ServerStopped",
    "ServerStopping",
    "Sink",
    "SocketUnused",
    "UpgradeDone",
    "UpgradeFailed",
    "UpgradeIgnored",
    "UpgradeStarted",
    "WorkerDied",
    "WorkerStarted",
]
