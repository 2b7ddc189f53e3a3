"""Events of the process as a service: upgrades, and what a service manager gives and is told."""

from __future__ import annotations

import attrs

from lb.events import Event

__all__ = ["NotifyFailed", "SocketUnused", "UpgradeDone", "UpgradeFailed", "UpgradeIgnored", "UpgradeStarted"]


@attrs.frozen
class UpgradeStarted(Event):
    """A new process has been started, to take this one's place."""

    name = "upgrade.started"
    pid: int


@attrs.frozen
class UpgradeDone(Event):
    """The new process serves; this one lets its connections finish."""

    name = "upgrade.done"
    pid: int


@attrs.frozen
class UpgradeFailed(Event):
    """The new process could not take over; this one goes on."""

    name = "upgrade.failed"
    level = "error"
    reason: str


@attrs.frozen
class UpgradeIgnored(Event):
    """Nothing was started."""

    name = "upgrade.ignored"
    level = "warning"
    reason: str


@attrs.frozen
class SocketUnused(Event):
    """The service manager keeps a listening socket open on which nobody accepts."""

    name = "socket.unused"
    level = "warning"
    bind: str
    socket: str
    """What its unit calls it."""


@attrs.frozen
class NotifyFailed(Event):
    """The service manager could not be told how things stand. Said once."""

    name = "notify.failed"
    level = "warning"
    error: str
