"""A pool of servers as configured: health checks, passive health checks, outlier detection, discovery."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from lb.model.address import Address
from lb.model.etcd import EtcdSource
from lb.model.forward import ProxyLogin
from lb.model.http import HttpPoolSpec, StatusRange, StickySpec
from lb.model.kubernetes import KubernetesSource
from lb.model.plugin import PluginSpec
from lb.model.server import ServerSpec
from lb.model.tls import PoolTlsSpec

__all__ = ["CheckSpec", "CheckTls", "DnsSource", "HealthSpec", "OutlierSpec", "PassiveSpec", "PoolSpec", "ProxyTlv"]


@attrs.frozen
class DnsSource:
    """Servers discovered from a DNS name, one per address, and the settings that they share."""

    dns: str
    port: int = 0
    """The port of every server; 0 = look up SRV records, which give ports, weights and backups."""
    weight: int = 1
    backup: bool = False
    max_connections: int = 0
    check_port: int = 0
    family: Literal["any", "ipv4", "ipv6"] = "any"
    """The addresses to look up: A records, AAAA records, or both."""
    hold: float | None = None
    """Seconds that a server whose record has vanished drains before it is removed; None = twice the TTL."""

    def __str__(self) -> str:
        return f"{self.dns}:{self.port}" if self.port else self.dns


ProxyTlv: TypeAlias = Literal["authority", "alpn", "unique-id", "ssl", "crc32c"]
CheckTls: TypeAlias = PoolTlsSpec | Literal[False] | None
"""TLS of a check. None: as traffic, if the check uses the same port and address. False: none."""


@attrs.frozen
class CheckSpec:
    """One of several health checks of each server. ``port`` 0 and an empty ``address`` are those of the server."""

    probe: PluginSpec = PluginSpec("tcp")
    port: int = 0
    address: str = ""
    tls: CheckTls = None
    name: str = ""
    """Replaces the probe's name in failure reasons."""

    def label(self, number: int) -> str:
        """Return the label in failure reasons: ``check 2 (http)``. Numbers begin at 1."""
        return f"check {number} ({self.name or self.probe})"


@attrs.frozen
class HealthSpec:
    """Health checks of one pool."""

    probe: PluginSpec = PluginSpec("tcp")
    interval: float = 2.0
    fast_interval: float = 0.5
    down_interval: float = attrs.field()
    """Between checks of a server that is down, or that has failed its first check. The default is ``interval``."""
    timeout: float = 1.0
    rise: int = 2
    fall: int = 3
    port: int = 0
    address: str = ""
    tls: CheckTls = None
    initial: Literal["up", "down"] = "up"
    checks: tuple[CheckSpec, ...] = ()
    """Replace ``probe`` if not empty."""
    require: Literal["all", "any"] = "all"
    """How many of ``checks`` must pass."""
    share: bool = False
    """The nodes of a cluster share the checks of each server."""

    @down_interval.default
    def _interval(self) -> float:
        return self.interval

    @property
    def all_checks(self) -> tuple[CheckSpec, ...]:
        """The checks of a server that does not change their place; at least one."""
        return self._checks(self.port, self.address)

    def checks_of(self, server: ServerSpec) -> tuple[CheckSpec, ...]:
        """Return the checks of a server. The place of one of several checks has precedence over that of the server."""
        return self._checks(server.check_port or self.port, server.check_address or self.address)

    def _checks(self, port: int, address: str) -> tuple[CheckSpec, ...]:
        return tuple(
            attrs.evolve(
                check,
                port=check.port or port,
                address=check.address or address,
                tls=self.tls if check.tls is None else check.tls,
            )
            for check in self.checks or (CheckSpec(self.probe),)
        )


@attrs.frozen
class PassiveSpec:
    """Passive health checks: ``failures`` consecutive failed connects (0 = off) eject for ``eject_for`` seconds."""

    failures: int = 3
    eject_for: float = 10.0
    statuses: tuple[StatusRange, ...] = ()
    """HTTP statuses that count as a failure; empty = none."""


@attrs.frozen
class OutlierSpec:
    """Outlier detection: when a server counts as slow, compared with the other servers of its pool."""

    interval: float = 10.0
    """Seconds between evaluations; each uses the samples since the last one."""
    factor: int = 3
    """A server is slow above this multiple of the servers' median, …"""
    min_difference: float = 0.02
    """… and only if it exceeds the median by this many seconds."""
    first_byte: bool = True
    """Measure the time to the server's first byte as well as the connect time."""
    min_servers: int = 3
    """With fewer servers that have enough samples, no server counts as slow."""
    min_samples: int = 20
    """Samples of one server per interval; a server with fewer is ignored."""
    max_ejected_percent: int = 20
    """Share of the pool's servers that may be out of service for any reason; one server may always be."""
    eject_for: float = 30.0
    dry_run: bool = False
    """Only report slow servers."""


@attrs.frozen
class PoolSpec:
    """A pool: its servers, and how it chooses one."""

    name: str
    servers: tuple[ServerSpec, ...] = ()
    strategy: PluginSpec = PluginSpec("weighted")
    connect_timeout: float = 3.0
    retries: int = 2
    when_all_down: Literal["reject", "any", "hold"] = "reject"
    hold_timeout: float = 5.0
    queue: int = 0
    """Connections that may wait for a full server, in all processes together."""
    queue_timeout: float = 5.0
    on_down: Literal["keep", "close"] = "keep"
    on_return: Literal["keep", "close"] = "keep"
    """What happens to connections of backup servers when a primary is back."""
    on_remove: Literal["drain", "close"] = "drain"
    drain_timeout: float = 300.0
    slow_start: float = 0.0
    """Seconds over which a server that has come up ramps to its full weight."""
    resolve_interval: float = 30.0
    send_proxy: Literal["off", "v1", "v2"] = "off"
    proxy_tlvs: tuple[ProxyTlv, ...] = ()
    """What PROXY headers of version 2 tell beside the addresses, unless the client's own header has told it."""
    source: tuple[str, ...] = ()
    """Addresses of this host that connections to the servers come from, in turn; empty = the system's choice."""
    buffer: int = 0
    """Bytes of each kernel buffer of sockets towards the servers; 0 = the kernel adapts them."""
    health: HealthSpec | None = HealthSpec()
    passive: PassiveSpec = PassiveSpec()
    outlier: OutlierSpec | None = None
    tls: PoolTlsSpec | None = None
    dns: tuple[DnsSource, ...] = ()
    """DNS discovery of more servers; the discovered servers are in ``servers`` as well."""
    nameservers: tuple[Address, ...] = ()
    """Name servers for the discovery; empty = those of the system."""
    servers_file: str = ""
    """A watched file with more servers; empty = none."""
    etcd: EtcdSource | None = None
    """A prefix in etcd with more servers; None = none."""
    kubernetes: KubernetesSource | None = None
    """A service of Kubernetes whose endpoints are more servers; None = none."""
    http: HttpPoolSpec = HttpPoolSpec()
    sticky: StickySpec | None = None
    proxy: ProxyLogin | None = None
    """The login at the servers, which are proxies; None = none."""

    @property
    def is_discovered(self) -> bool:
        """True if there are sources of more servers than those that are listed."""
        return bool(self.dns or self.servers_file or self.etcd or self.kubernetes)
