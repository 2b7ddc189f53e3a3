"""The words of the balancer: addresses, servers, pools, listeners. Values only: no I/O, no clock.

Everything whose name ends in ``Spec`` is a frozen piece of configuration, made by :mod:`lb.config`.
Durations are seconds; ``math.inf`` stands for "never".
"""

from __future__ import annotations

import ipaddress
import math
import re
import socket
from typing import Literal, NamedTuple, TypeAlias

import attrs

from lb.counts import Count, LocalCount

__all__ = [
    "Address",
    "Client",
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
    "SocketAddress",
]

SocketAddress: TypeAlias = tuple[socket.AddressFamily, object]
"""A family and the address in the form that :meth:`socket.socket.connect` takes: what an address resolves to."""


@attrs.frozen
class Address:
    """Where a socket listens or connects: ``host:port``, or the path of a unix socket.

    ``text`` is what the user wrote. It is the address's identity: hash tables place a server by it,
    so a host name keeps its place when its addresses change.
    """

    text: str
    host: str = attrs.field(default="", eq=False)
    """Without brackets; empty means all addresses (listeners only)."""
    port: int = attrs.field(default=0, eq=False)
    path: str = attrs.field(default="", eq=False)
    """Path of a unix socket; empty for TCP."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``, ``[v6]:port``, ``:port`` or ``unix:/path``. Raises ValueError saying what is wrong."""
        if not text.isprintable():
            raise ValueError(f"must not hold control characters, like {text!r}")
        if text.startswith("unix:"):
            return cls(text=text, path=_unix_path(text))
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError(f"must be 'host:port' or 'unix:/path', not {text!r}")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError(f"the port must be a number from 0 to 65535, not {port!r}")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            try:
                ipaddress.IPv6Address(host)
            except ValueError as error:
                raise ValueError(f"{host!r} is not an IPv6 address") from error
        elif ":" in host:
            raise ValueError(f"an IPv6 address needs brackets: '[{host}]:{port}'")
        elif host and not _is_ipv4_or_name(host):
            raise ValueError(f"{host!r} is not a host name or an address")
        return cls(text=text, host=host, port=int(port))

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    @property
    def is_name(self) -> bool:
        """True if the host has to be looked up."""
        if self.is_unix or not self.host:
            return False
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False

    def __str__(self) -> str:
        return self.text


def _unix_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path:
        raise ValueError(f"a path must follow 'unix:' in {text!r}")
    if len(path.encode()) > 107:
        raise ValueError(f"the path of a unix socket has at most 107 bytes, {path!r} has {len(path.encode())}")
    return path


def _is_ipv4_or_name(host: str) -> bool:
    """A name whose last label is a number can only be an IPv4 address, or a mistyped one (RFC 3696, section 2)."""
    try:
        labels = host.encode("idna").decode().removesuffix(".").split(".")
        if labels[-1].isdigit():
            ipaddress.IPv4Address(host)
    except ValueError:  # not an address; or a label that is empty or longer than 63 bytes
        return False
    return all(re.fullmatch(r"[A-Za-z0-9_-]+", label) for label in labels)


class Client(NamedTuple):
    """Who connected: the address as text and the port; a unix peer has neither.

    An IPv4 client of a dual-stack listener is plain IPv4.
    """

    host: str
    port: int

    def __str__(self) -> str:
        if not self.host:
            return "unix:"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


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
