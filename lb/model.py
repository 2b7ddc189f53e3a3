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
from lb.networks import IPAddress, Networks
from lb.tls.specs import CertificateSpec, ListenerTlsSpec, PemSpec, PoolTlsSpec

__all__ = [
    "AdminSpec",
    "CertificateSpec",
    "CheckSpec",
    "Config",
    "DnsSource",
    "HealthSpec",
    "ListenerSpec",
    "ListenerTlsSpec",
    "LogSpec",
    "OutlierSpec",
    "PassiveSpec",
    "PemSpec",
    "PluginSpec",
    "PoolSpec",
    "PoolTlsSpec",
    "ProcessSpec",
    "Secret",
    "Server",
    "ServerSpec",
    "Share",
]


class Share(float):
    """A part of a whole, 0 to 1; other floats are durations."""


@attrs.frozen(repr=False)
class Secret:
    """A value that is not to be seen: whatever prints a configuration prints this in its place."""

    value: object

    def __repr__(self) -> str:
        return "(hidden)"


@attrs.frozen
class PluginSpec:
    """A strategy or a probe by name (built-in, entry point or ``module:Name``) and the options for its constructor."""

    name: str
    options: tuple[tuple[str, object], ...] = ()
    """Those that the plug-in calls secret are a :class:`Secret`, until an object is made of it."""

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
class DnsSource:
    """Servers that are found under a name in DNS, one for each address, and what all of them are given."""

    dns: str
    port: int = 0
    """Of every server; 0 = the name has SRV records, which tell ports, weights and which servers are backups."""
    weight: int = 1
    backup: bool = False
    max_connections: int = 0

    def __str__(self) -> str:
        return f"{self.dns}:{self.port}" if self.port else self.dns


@attrs.frozen
class CheckSpec:
    """One of several checks of each server."""

    probe: PluginSpec = PluginSpec("tcp")
    port: int = 0
    """0 = that of all checks."""
    name: str = ""
    """For the reasons of failures, if its number and its probe are not enough."""

    def label(self, number: int) -> str:
        """How a reason names it: ``check 2 (http)``; numbers begin at 1."""
        return f"check {number} ({self.name or self.probe})"


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
    checks: tuple[CheckSpec, ...] = ()
    """In place of ``probe``, if there are any."""
    require: Literal["all", "any"] = "all"
    """How many of ``checks`` must pass."""

    @property
    def all_checks(self) -> tuple[CheckSpec, ...]:
        """At least one."""
        if not self.checks:
            return (CheckSpec(self.probe, self.port),)
        return tuple(attrs.evolve(check, port=check.port or self.port) for check in self.checks)


@attrs.frozen
class PassiveSpec:
    """Verdicts from real traffic: so many consecutive failed connects (0 = off) eject for ``eject_for`` seconds."""

    failures: int = 3
    eject_for: float = 10.0


@attrs.frozen
class OutlierSpec:
    """When a server counts as slow, compared with the others of its pool; ``dry_run``: only say it."""

    interval: float = 10.0
    """Seconds between two looks at what was measured since the last."""
    factor: int = 3
    """Slow is more than so many times the median of the servers, …"""
    min_difference: float = 0.02
    """… and by so many seconds."""
    first_byte: bool = True
    """The time to a server's first byte counts, not only that of the connect."""
    min_servers: int = 3
    min_samples: int = 20
    """Of one server in an interval; one with fewer is not looked at, and with fewer servers nobody is slow."""
    max_ejected_percent: int = 20
    """How many of the pool's servers may be out, for whatever reason; one always may."""
    eject_for: float = 30.0
    dry_run: bool = False


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
    queue: int = 0
    """Connections that may wait for a server that is full, in all processes together."""
    queue_timeout: float = 5.0
    on_down: Literal["keep", "close"] = "keep"
    on_remove: Literal["drain", "close"] = "drain"
    drain_timeout: float = 300.0
    slow_start: float = 0.0
    """Over so many seconds a server that has come up ramps to its full weight."""
    resolve_interval: float = 30.0
    send_proxy: Literal["off", "v1", "v2"] = "off"
    health: HealthSpec | None = HealthSpec()
    passive: PassiveSpec = PassiveSpec()
    outlier: OutlierSpec | None = None
    tls: PoolTlsSpec | None = None
    dns: tuple[DnsSource, ...] = ()
    """Where more servers are found; once they are, they stand in ``servers``, too."""
    nameservers: tuple[Address, ...] = ()
    """Who is asked for them; empty = the system's."""
    servers_file: str = ""
    """A file with more servers, which is watched; empty = none."""


@attrs.frozen
class ListenerSpec:
    """Addresses that accept clients for one pool, or for several, between which the name asked for decides."""

    name: str
    bind: tuple[Address, ...]
    pool: str
    idle_timeout: float = 600.0
    half_close_timeout: float = 60.0
    max_connections: int = 0
    backlog: int = 4096
    accept_proxy: bool | Networks = False
    """Who must send a PROXY header: nobody, everybody, or these, and others are denied."""
    header_timeout: float = 10.0
    allow: Networks = attrs.field(factory=Networks)
    """Empty = all."""
    deny: Networks = attrs.field(factory=Networks)
    max_per_source: int = 0
    """0 = no limit."""
    rate_per_source: int = 0
    """New connections a second; 0 = no limit."""
    tls: ListenerTlsSpec | None = None
    sni: tuple[tuple[str, str], ...] | None = None
    """Names, or wildcards like ``*.example.org``, and the pool of each; whoever asks for another gets ``pool``."""
    explain_sample: Share = Share(0)  # noqa: RUF009 - a number
    """Of the connections whose records say why they got their server."""

    def admits(self, address: IPAddress | None) -> bool:
        """Its networks let a client of this address in; None is one of a unix socket."""
        return address not in self.deny and (not self.allow or address in self.allow)


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
class AdminSpec:
    """Where operators look at the balancer and steer it."""

    bind: Address
    token: Secret | None = None
    """Needed for everything but ``/healthz``; None = nobody has to show one."""


@attrs.frozen
class Config:
    """A whole configuration, valid as a whole: every listener's pool exists."""

    listeners: dict[str, ListenerSpec] = attrs.field(factory=dict)
    pools: dict[str, PoolSpec] = attrs.field(factory=dict)
    process: ProcessSpec = ProcessSpec()
    log: LogSpec = LogSpec()
    admin: AdminSpec | None = None


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
    share: int = 100
    """Of its weight, percent: what the server itself wants just now. Above 0 as long as it may be chosen."""

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
        """Leases per unit of the weight that it wants just now; infinite for weight 0."""
        weight = self.spec.weight * self.share
        return 100 * self.leases.total / weight if weight else math.inf
