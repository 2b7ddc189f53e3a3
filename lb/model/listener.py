"""A listener as configured, and the lookup of routes by server name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

import attrs

from lb.model.address import Address, IPAddress, Networks
from lb.model.tls import ListenerTlsSpec

__all__ = [
    "BandwidthSpec",
    "ListenerSpec",
    "ListeningSpec",
    "ModeSettings",
    "OptionalProxies",
    "Share",
    "TcpSettings",
    "find",
]


class Share(float):
    """A fraction from 0 to 1. Other floats in the configuration are durations."""


class ModeSettings(Protocol):
    """The configuration keys of a listener that are specific to its mode. A frozen value."""

    @property
    def pools(self) -> tuple[str, ...]:
        """The names of the pools that the listener routes to."""


@attrs.frozen
class TcpSettings:
    """The keys of mode ``tcp``: one pool, or several pools selected by the SNI server name."""

    pool: str
    idle_timeout: float = 600.0
    half_close_timeout: float = 60.0
    sni: tuple[tuple[str, str], ...] | None = None
    """Server names, or wildcards like ``*.example.org``, and the pool of each. All other clients go to ``pool``."""
    no_tls: str = ""
    """With ``sni``: the pool of clients that do not speak TLS, or say nothing; empty: they are refused."""
    explain_sample: Share = Share(0)
    """Fraction of connections whose log records explain the choice of the server."""

    @property
    def pools(self) -> tuple[str, ...]:
        others = [self.no_tls] if self.no_tls else []
        return tuple(dict.fromkeys([self.pool, *(pool for _, pool in self.sni or ()), *others]))


@attrs.frozen
class ListeningSpec:
    """Options of a listening socket; see the keys of :class:`ListenerSpec`. Accepted sockets inherit those of TCP."""

    backlog: int = 4096
    keepalive: float = 0.0
    user_timeout: float = 0.0
    freebind: bool = False
    mode: int | None = None
    owner: str = ""


@attrs.frozen
class OptionalProxies(Networks):
    """The networks of proxies, which send a PROXY header. Other clients come without."""


@attrs.frozen
class BandwidthSpec:
    """Limits in bytes a second, for each direction; 0 = none."""

    connection: int = 0
    source: int = 0
    """Of all connections of a client's address together."""
    listener: int = 0

    def __bool__(self) -> bool:
        return self != BandwidthSpec()


@attrs.frozen
class ListenerSpec:
    """The addresses that accept clients, and the mode that handles them."""

    name: str
    bind: tuple[Address, ...]
    settings: ModeSettings
    mode: str = "tcp"
    max_connections: int = 0
    backlog: int = 4096
    accept_proxy: bool | Networks = False
    """Whether clients must send a PROXY header. With networks, clients in them must; all others are denied, or, with
    :class:`OptionalProxies`, come without."""
    header_timeout: float = 10.0
    allow: Networks = attrs.field(factory=Networks)
    """Empty = all clients."""
    deny: Networks = attrs.field(factory=Networks)
    max_per_source: int = 0
    """0 = no limit."""
    rate_per_source: int = 0
    """New connections per second; 0 = no limit."""
    bandwidth: BandwidthSpec = BandwidthSpec()
    tls: ListenerTlsSpec | None = None
    keepalive: float = 120.0
    """TCP keep-alive on both sides: idle seconds before the first probe; 0 = off."""
    user_timeout: float = 0.0
    """TCP_USER_TIMEOUT in seconds, on both sides; 0 = the kernel's default."""
    freebind: bool = False
    """Bind addresses that this host does not have yet."""
    socket_mode: int | None = None
    """Permissions of the files of unix sockets; None = as the umask says."""
    socket_owner: str = ""
    """Owner of the files of unix sockets: ``user``, ``user:group`` or ``:group``."""

    @property
    def sockets(self) -> ListeningSpec:
        """The options of the listening sockets."""
        return ListeningSpec(
            self.backlog, self.keepalive, self.user_timeout, self.freebind, self.socket_mode, self.socket_owner
        )

    def admits(self, address: IPAddress | None) -> bool:
        """Return whether the access list admits this client address; None is a client of a unix socket."""
        return address not in self.deny and (not self.allow or address in self.allow)


T = TypeVar("T")


def find(known: Mapping[str, T], name: str) -> T | None:
    """Return the entry for a name: its exact match, else that of the longest matching wildcard."""
    found = known.get(name)
    while found is None and name:
        _, _, name = name.partition(".")
        found = known.get(f"*.{name}")
    return found
