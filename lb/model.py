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
from lb.networks import Networks

__all__ = [
    "AdminSpec",
    "CertificateSpec",
    "Config",
    "DnsSource",
    "HealthSpec",
    "ListenerSpec",
    "ListenerTlsSpec",
    "LogSpec",
    "PassiveSpec",
    "PemSpec",
    "PluginSpec",
    "PoolSpec",
    "PoolTlsSpec",
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
class PemSpec:
    """A file as it was when the configuration was read: processes that start later must not find another."""

    path: str
    """As configured, for people."""
    content: bytes = attrs.field(repr=False)


@attrs.frozen
class CertificateSpec:
    """A certificate with the chain up to its authority, and its key."""

    chain: PemSpec
    key: PemSpec
    names: tuple[str, ...]
    """Whom it is for, in lower case; a wildcard stands for one label."""
    until: str
    """The day on which it expires."""


@attrs.frozen
class ListenerTlsSpec:
    """TLS towards clients. The first of several certificates is for those who name no server, or another."""

    certificates: tuple[CertificateSpec, ...]
    min_version: Literal["1.2", "1.3"] = "1.2"
    alpn: tuple[str, ...] = ()
    client_ca: PemSpec | None = None
    client_certificate: Literal["none", "optional", "required"] = "none"


@attrs.frozen
class PoolTlsSpec:
    """TLS towards servers."""

    verify: bool = True
    ca: PemSpec | None = None
    """None = those that the system trusts."""
    server_name: str = ""
    """Empty = the host of the server's address."""
    alpn: tuple[str, ...] = ()
    certificate: CertificateSpec | None = None
    """Our own, for servers that ask for one."""


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
    send_proxy: Literal["off", "v1", "v2"] = "off"
    health: HealthSpec | None = HealthSpec()
    passive: PassiveSpec = PassiveSpec()
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


@attrs.frozen
class ProcessSpec:
    workers: int | Literal["auto"] = 1
    """Processes that carry traffic; "auto" is one per CPU."""
    stop_timeout: float = 30.0


@attrs.frozen
class LogSpec:
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"
    connections: bool = True


@attrs.frozen
class AdminSpec:
    """Where operators look at the balancer and steer it."""

    bind: Address
    token: str = attrs.field(default="", repr=False)
    """Needed for everything but ``/healthz``; empty = nobody has to show one."""


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
