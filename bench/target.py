"""A balancer under comparison: its options, and the services that it offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
from backends import Ports
from clients import PLAIN, Client
from processes import HOST

import strategies.registry

__all__ = ["FEW", "MANY", "STRATEGIES", "Configure", "Features", "Server", "Service", "Target"]

FEW, MANY = 2, 1_000
"""Number of servers behind the ports ``few`` and ``many``."""
STRATEGIES: Mapping[str, str] = {
    **{name: f'"{name}"' for name in strategies.registry.names() if name != "consistent-hash"},
    **{
        f"consistent-hash, {table}": f'{{ name = "consistent-hash", key = "source-ip-port", table = "{table}" }}'
        for table in ("maglev", "ketama")
    },
}
"""Each built-in strategy in TOML. The hash strategies get a key that differs between connections."""
HAPROXY_BALANCE = {"round-robin": "roundrobin", "least-conn": "leastconn"}
"""HAProxy's names of the strategies measured with it."""


@attrs.frozen
class Server:
    """A server: ``host:port`` and weight."""

    address: str
    weight: int = 1


@attrs.frozen
class Service:
    """A port of a balancer, and the servers behind it."""

    name: str
    port: int
    servers: Sequence[Server]


Configure = Callable[["Target", Sequence[Service], Path], tuple[str, list[str]]]
"""From a target, its services and the path of the configuration file to the text of the file and the command."""


@attrs.frozen
class Features:
    """What the listeners and servers of a target do beside relaying bytes."""

    tls: bool = False
    """TLS with the clients."""
    server_tls: bool = False
    """TLS with the servers, whose certificates are not verified."""
    sni: bool = False
    """The pool is chosen by the server name in the ClientHello; nothing is decrypted."""
    accept_proxy: bool = False
    """Clients send a PROXY header."""
    send_proxy: bool = False
    """Servers get a PROXY header of version 2."""
    allow: bool = False
    """Clients must be of an allowed network."""
    http: bool = False
    """Requests are proxied, not connections, without an access log."""
    http2: bool = False
    """With ``http``: clients speak HTTP/2."""
    grpc: bool = False
    """With ``http2``: so do the servers, which answer calls of gRPC."""
    cache: bool = False
    """With ``http``: responses are cached for an hour."""
    films: bool = False
    """With ``http``: films are served below ``/films/``, not cached."""
    forward: bool = False
    """It is a forward proxy: clients name the server."""
    media: bool = False
    """Live streams are published, and viewed. There are no servers."""
    dashboard: bool = False
    """Its dashboard is opened, and shows many pools."""
    check: str = ""
    """Active health checks, each 2 s: "tcp" or "http"; "" is none."""


@attrs.frozen
class Target:
    """A balancer with its options, or none: a column of the report."""

    name: str
    configure: Configure | None = attrs.field(repr=False)
    """None: no balancer."""
    logs: bool = False
    """Log a line per connection to a file."""
    splices: bool = False
    """HAProxy's option splice-auto."""
    strategy: str | None = None
    """One of :data:`STRATEGIES`, with few and with many servers; None: one server per port."""
    workers: int | None = None
    """Worker processes, which may use all cores; None: one process on its own core."""
    admin: bool = False
    """Has an admin endpoint on a Unix socket."""
    lists_imports: bool = False
    """Python prints a line per imported module."""
    features: Features = Features()
    client: Client = PLAIN
    """The clients that its listeners expect."""

    def named(self, name: str) -> Target:
        return attrs.evolve(self, name=name)

    def with_log(self) -> Target:
        return attrs.evolve(self, logs=True)

    def with_admin(self) -> Target:
        return attrs.evolve(self, name=f"{self.name}, scraped", admin=True)

    def with_strategy(self, strategy: str) -> Target:
        return attrs.evolve(self, strategy=strategy)

    def with_workers(self, workers: int) -> Target:
        name = f"{self.name}, {workers} worker{'s' if workers > 1 else ''}"
        return attrs.evolve(self, name=name, workers=workers)

    def listing_imports(self) -> Target:
        return attrs.evolve(self, lists_imports=True)

    def with_features(self, features: Features, client: Client = PLAIN) -> Target:
        return attrs.evolve(self, features=features, client=client)

    def with_checks(self, check: str) -> Target:
        return attrs.evolve(self, strategy="round-robin", features=Features(check=check))

    def services(self, front: Ports, behind: Ports, first: int = 0) -> list[Service]:
        """Return the services; ``first`` is the number of the first of many servers."""
        many = Service("many", front.many, _servers(behind.many, first, MANY))
        if self.features.check:
            return [many]
        if self.features.media:
            return [Service("web", front.web, []), Service("rtmp", front.rtmp, [])]
        if self.features.dashboard:
            return [Service("web", front.web, [Server(f"{HOST}:{behind.web}")]), Service("admin", front.admin, [])]
        if self.strategy is not None:
            return [Service("few", front.few, _servers(behind.few, 0, FEW)), many]
        if self.features.http and not self.features.grpc:
            names: tuple[str, ...] = ("web", "http_sink")
        elif self.features != Features():
            return [Service("web", front.web, [Server(f"{HOST}:{self._web(behind)}")])]
        else:
            names = ("web", "sink", "source")
        return [Service(name, getattr(front, name), [Server(f"{HOST}:{getattr(behind, name)}")]) for name in names]

    def _web(self, behind: Ports) -> int:
        """Return the port of the web server that speaks as this balancer does."""
        if self.features.grpc:
            return behind.grpc
        if self.features.server_tls or self.features.sni:
            return behind.tls
        return behind.proxied if self.features.send_proxy else behind.web


def _servers(port: int, first: int, count: int) -> list[Server]:
    """Return the same server at many addresses, with weights from 1 to 3."""
    return [
        Server(f"127.1.{number >> 8}.{number & 255}:{port}", number % 3 + 1) for number in range(first, first + count)
    ]
