"""The configuration with the discovered servers. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import attrs

from lb.discovery.dns_records import in_order
from lb.events import DiscoveryFailed, DiscoveryRestored, Event
from lb.model import Config, DnsSource, PoolSpec, ServerSpec

__all__ = ["Known", "SourceKey", "complete", "held_servers", "key_of_dns", "key_of_file"]


class SourceKey(NamedTuple):
    """Identity of a pool's discovery source. Its servers are kept as long as the pool names the source."""

    pool: str
    text: str
    """``dns web.internal:80`` or ``file web.servers``."""


def complete(config: Config, found: Mapping[SourceKey, Known]) -> Config:
    """Return the configuration with discovered servers. Order in a pool: configured servers, DNS, file.

    Of several servers with the same name the first counts. Pools without sources stay the same object.
    """
    return attrs.evolve(config, pools={name: _complete(pool, found) for name, pool in config.pools.items()})


def _complete(pool: PoolSpec, found: Mapping[SourceKey, Known]) -> PoolSpec:
    if not (pool.dns or pool.servers_file):
        return pool
    servers = {server.name: server for server in pool.servers}
    for server in _found(pool, found):
        servers.setdefault(server.name, server)
    return attrs.evolve(pool, servers=tuple(servers.values()))


def _found(pool: PoolSpec, found: Mapping[SourceKey, Known]) -> Iterator[ServerSpec]:
    nothing = Known()
    for dns in pool.dns:
        for server in found.get(key_of_dns(pool, dns), nothing).all_servers:
            yield attrs.evolve(
                server,
                weight=dns.weight if dns.port else server.weight,
                backup=dns.backup or server.backup,
                max_connections=dns.max_connections,
                check_port=dns.check_port,
            )
    if pool.servers_file:
        yield from found.get(key_of_file(pool), nothing).all_servers


def held_servers(config: Config, found: Mapping[SourceKey, Known]) -> frozenset[tuple[str, str]]:
    """Return the servers, as pool and name, that only drain: no source has them any more."""
    held = set()
    for pool in config.pools.values():
        if pool.dns or pool.servers_file:
            sources = [found[key] for key in _keys(pool) if key in found]
            present = {server.name for server in pool.servers}.union(*(known.names for known in sources))
            held |= {(pool.name, name) for known in sources for name in known.held if name not in present}
    return frozenset(held)


def _keys(pool: PoolSpec) -> Iterator[SourceKey]:
    yield from (key_of_dns(pool, dns) for dns in pool.dns)
    if pool.servers_file:
        yield key_of_file(pool)


def key_of_dns(pool: PoolSpec, dns: DnsSource) -> SourceKey:
    return SourceKey(pool.name, f"dns {dns}")


def key_of_file(pool: PoolSpec) -> SourceKey:
    return SourceKey(pool.name, f"file {pool.servers_file}")


@attrs.define
class Known:
    """The state of one discovery source."""

    servers: tuple[ServerSpec, ...] = ()
    """The last good list."""
    held: dict[str, tuple[ServerSpec, float]] = attrs.field(factory=dict)
    """Servers that the last list no longer has, by name, and until when they are held."""
    failures: int = 0
    """Look-ups that failed, completely or partly, since the last good one."""

    @property
    def names(self) -> set[str]:
        return {server.name for server in self.servers}

    @property
    def all_servers(self) -> tuple[ServerSpec, ...]:
        """The servers, and those that are held, each in its place."""
        return in_order((*self.servers, *(server for server, _ in self.held.values()))) if self.held else self.servers

    @property
    def next_end(self) -> float:
        """When the next server is held no longer."""
        return min((end for _, end in self.held.values()), default=math.inf)

    def list(self, servers: tuple[ServerSpec, ...], now: float, hold: float) -> None:
        """Use another list. Servers that it does not have are held for ``hold`` seconds."""
        names = {server.name for server in servers}
        if hold:
            self.held |= {server.name: (server, now + hold) for server in self.servers if server.name not in names}
        self.held = {name: each for name, each in self.held.items() if name not in names}
        self.servers = servers

    def end_hold(self, now: float) -> None:
        """Drop the servers that are held no longer."""
        self.held = {name: (server, end) for name, (server, end) in self.held.items() if end > now}

    def note(self, source: SourceKey, servers: tuple[ServerSpec, ...], errors: tuple[str, ...]) -> Event | None:
        """Count the result of a look-up. Without any server, the last good list stays.

        Returns the event to report: once for a series of failures, and once at its end.
        """
        if errors or not servers:
            self.failures += 1
            if self.failures > 1:
                return None
            return DiscoveryFailed(*source, errors or ("there are no servers",), len(self.servers))
        failures, self.failures = self.failures, 0
        return DiscoveryRestored(*source, failures, len(self.servers)) if failures else None
