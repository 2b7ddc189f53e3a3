"""Events of servers: verdicts, overrides, name lookups and discovery."""

from __future__ import annotations

from typing import Literal

from lb.events.base import Event, frozen_event

__all__ = [
    "BackendAdvised",
    "BackendEjected",
    "BackendOverridden",
    "BackendRestored",
    "BackendSlow",
    "CheckWarning",
    "ChecksLate",
    "DiscoveryFailed",
    "DiscoveryRestored",
    "ResolveFailed",
]


@frozen_event
class BackendEjected(Event):
    name = "backend.ejected"
    level = "warning"
    pool: str
    server: str
    reason: str
    source: Literal["active", "passive", "outlier"]


@frozen_event
class BackendRestored(Event):
    name = "backend.restored"
    pool: str
    server: str


@frozen_event
class BackendSlow(Event):
    """Outlier detection found a slow server in a dry run; the server stays in service."""

    name = "backend.slow"
    level = "warning"
    pool: str
    server: str
    reason: str


@frozen_event
class CheckWarning(Event):
    """A health check passed with a warning. Emitted again when the warning changes."""

    name = "check.warning"
    level = "warning"
    pool: str
    server: str
    warning: str


@frozen_event
class ChecksLate(Event):
    """The process has no time for all health checks of a pool. Emitted once per streak; none fails because of it."""

    name = "checks.late"
    level = "warning"
    pool: str
    servers: int
    """Number of servers whose checks are more than a second late."""
    seconds: float
    """The most, in seconds."""


@frozen_event
class BackendOverridden(Event):
    """An operator drained or enabled a server, or set its weight, through the admin endpoint."""

    name = "backend.overridden"
    pool: str
    server: str
    drained: bool
    weight: int
    """The new effective weight."""
    node: str | None = None
    """In a cluster, the node to which an operator said it; None without one."""


@frozen_event
class BackendAdvised(Event):
    """An agent check of a server reported a new share or administrative state."""

    name = "backend.advised"
    pool: str
    server: str
    share: int
    """Percentage of the weight; at 0 the server gets no new connections."""
    admin: Literal["ready", "drain", "maint"]


@frozen_event
class ResolveFailed(Event):
    """A name lookup failed. The last result, if any, stays in use. Emitted once per series of failures."""

    name = "resolve.failed"
    level = "warning"
    pool: str
    server: str
    host: str
    error: str


@frozen_event
class DiscoveryFailed(Event):
    """Discovery from DNS or a file failed. The last servers stay in use. Emitted once per series of failures."""

    name = "discovery.failed"
    level = "warning"
    pool: str
    source: str
    """``dns web.internal:80`` or ``file web.servers``."""
    errors: tuple[str, ...]
    servers: int
    """Number of servers from this source that stay in use."""


@frozen_event
class DiscoveryRestored(Event):
    """Discovery from a source works again."""

    name = "discovery.restored"
    pool: str
    source: str
    failures: int
    """Number of failed attempts before."""
    servers: int
    """Current number of servers."""
