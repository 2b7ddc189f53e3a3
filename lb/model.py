"""The words of the balancer: servers, pools, listeners. Values only: no I/O, no clock.

Everything whose name ends in ``Spec`` is a frozen piece of configuration, made by :mod:`lb.config`.
Durations are seconds; ``math.inf`` stands for "never".
"""

from __future__ import annotations

import math
from typing import Literal

import attrs

from lb.address import Address
from lb.counts import Count, LocalCount

__all__ = [
    "Config",
    "HealthSpec",
    "ListenerSpec",
    "LogSpec",
    "PassiveSpec",
    "PluginSpec",
    "PoolSpec",
    "ProcessSpec",
    "Server",
    "ServerSpec",
]


@attrs.frozen
class PluginSpec:
    """A strategy or a probe by name (built-in, entry point or ``module:Name``) and the options for its constructor."""

    name: str
    options: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        return self.name


@attrs.frozen
class ServerSpec:
    """One server as configured. ``name`` is its identity; 0 ``max_connections`` means no limit."""

    name: str
    address: Address
    weight: int = 1
    backup: bool = False
    max_connections: int = 0


@attrs.frozen
class HealthSpec:
    """Active checks of one pool."""

    probe: PluginSpec = PluginSpec("tcp")
    interval: float = 2.0
    fast_interval: float = 0.5
    timeout: float = 1.0
    rise: int = 2
    fall: int = 3
    port: int = 0
    """0 = the server's own."""
    initial: Literal["up", "down"] = "up"


@attrs.frozen
class PassiveSpec:
    """Verdicts from real traffic: so many consecutive failed connects (0 = off) eject for ``eject_for`` seconds."""

    failures: int = 3
    eject_for: float = 10.0


@attrs.frozen
class PoolSpec:
    """A pool of servers and how one of them is chosen."""

    name: str
    servers: tuple[ServerSpec, ...] = ()
    strategy: PluginSpec = PluginSpec("round-robin")
    connect_timeout: float = 3.0
    retries: int = 2
    when_all_down: Literal["reject", "any", "hold"] = "reject"
    hold_timeout: float = 5.0
    on_down: Literal["keep", "close"] = "keep"
    on_remove: Literal["drain", "close"] = "drain"
    drain_timeout: float = 300.0
    resolve_interval: float = 30.0
    health: HealthSpec | None = HealthSpec()
    passive: PassiveSpec = PassiveSpec()


@attrs.frozen
class ListenerSpec:
    """Addresses that accept clients for one pool."""

    name: str
    bind: tuple[Address, ...]
    pool: str
    idle_timeout: float = 600.0
    half_close_timeout: float = 60.0
    max_connections: int = 0
    backlog: int = 4096


@attrs.frozen
class ProcessSpec:
    workers: int | Literal["auto"] = 1
    """Processes that carry traffic; "auto" is one per CPU."""
    stop_timeout: float = 30.0
    user: str = ""
    """Whom the process becomes once it listens; empty = it stays who it is."""
    group: str = ""
    """Empty = the user's own."""


@attrs.frozen
class LogSpec:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    connections: bool = True


@attrs.frozen
class Config:
    """A whole configuration, valid as a whole: every listener's pool exists."""

    listeners: dict[str, ListenerSpec] = attrs.field(factory=dict)
    pools: dict[str, PoolSpec] = attrs.field(factory=dict)
    process: ProcessSpec = ProcessSpec()
    log: LogSpec = LogSpec()


@attrs.define(eq=False)
class Server:
    """A server while the balancer runs, as a strategy sees it.

    Compared by identity: it outlives changes of its spec.
    """

    spec: ServerSpec
    leases: Count = attrs.field(factory=LocalCount)
    """Those held now. Counted from the pick, not from the connect."""
    total: int = 0
    """Leases ever taken, in this process."""

    @property
    def active(self) -> int:
        """Leases held now, by all processes."""
        return self.leases.total

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def weight(self) -> int:
        return self.spec.weight

    @property
    def load(self) -> float:
        """Leases per unit of weight; infinite for weight 0."""
        return self.leases.total / self.spec.weight if self.spec.weight else math.inf
