"""The whole configuration, and its sections for the process, the log and the admin endpoint."""

from __future__ import annotations

from typing import Literal

import attrs

from lb.model.address import Address
from lb.model.listener import ListenerSpec
from lb.model.plugin import Secret
from lb.model.pool import PoolSpec

__all__ = ["AdminSpec", "Config", "LogSpec", "ProcessSpec"]


@attrs.frozen
class ProcessSpec:
    workers: int | Literal["auto"] = 1
    """Number of worker processes; "auto" is one per CPU."""
    stop_delay: float = 0.0
    """Seconds between the stop signal and the end of listening, for load balancers in front to notice ``/readyz``."""
    stop_timeout: float = 30.0
    user: str = ""
    """User to switch to after binding; empty = no switch."""
    group: str = ""
    """Empty = the user's primary group."""


@attrs.frozen
class LogSpec:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    connections: bool = True


@attrs.frozen
class AdminSpec:
    """The admin endpoint: status, metrics and commands for operators."""

    bind: Address
    token: Secret | None = None
    """Required for every request except ``/healthz``; None = no authentication."""


@attrs.frozen
class Config:
    """A complete and consistent configuration: every listener's pool exists."""

    listeners: dict[str, ListenerSpec] = attrs.field(factory=dict)
    pools: dict[str, PoolSpec] = attrs.field(factory=dict)
    process: ProcessSpec = ProcessSpec()
    log: LogSpec = LogSpec()
    admin: AdminSpec | None = None
