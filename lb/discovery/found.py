"""Where servers are found besides the configuration file, and the configuration with those that were. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

import attrs

from lb.address import Address
from lb.events import DiscoveryFailed, DiscoveryRestored, Event
from lb.model import Config, DnsSource, PoolSpec, ServerSpec

__all__ = ["DnsWay", "FileWay", "Known", "Source", "Way", "complete", "sources"]


class Source(NamedTuple):
    """Where a pool's servers are found. An identity: what was found there lasts as long as the pool names it."""

    pool: str
    text: str
    """``dns web.internal:80`` or ``file web.servers``."""


@attrs.frozen
class DnsWay:
    """How to find servers in DNS."""

    dns: str
    port: int
    """0 = by SRV."""
    nameservers: tuple[Address, ...]


@attrs.frozen
class FileWay:
    """How to find servers in a file."""

    path: str


Way: TypeAlias = DnsWay | FileWay


def sources(config: Config) -> dict[Source, Way]:
    """All that a configuration names, and how servers are found there."""
    found: dict[Source, Way] = {}
    for pool in config.pools.values():
        for dns in pool.dns:
            found[_of_dns(pool, dns)] = DnsWay(dns.dns, dns.port, pool.nameservers)
        if pool.servers_file:
            found[_of_file(pool)] = FileWay(pool.servers_file)
    return found


def complete(config: Config, found: Mapping[Source, Iterable[ServerSpec]]) -> Config:
    """The configuration with the servers that were found: after those that are listed, DNS before the file.

    Of several with the same name the first counts. Pools without sources stay the same object.
    """
    return attrs.evolve(config, pools={name: _complete(pool, found) for name, pool in config.pools.items()})


def _complete(pool: PoolSpec, found: Mapping[Source, Iterable[ServerSpec]]) -> PoolSpec:
    if not (pool.dns or pool.servers_file):
        return pool
    servers = {server.name: server for server in pool.servers}
    for server in _found(pool, found):
        servers.setdefault(server.name, server)
    return attrs.evolve(pool, servers=tuple(servers.values()))


def _found(pool: PoolSpec, found: Mapping[Source, Iterable[ServerSpec]]) -> Iterator[ServerSpec]:
    for dns in pool.dns:
        for server in found.get(_of_dns(pool, dns), ()):
            yield attrs.evolve(
                server,
                weight=dns.weight if dns.port else server.weight,
                backup=dns.backup or server.backup,
                max_connections=dns.max_connections,
            )
    if pool.servers_file:
        yield from found.get(_of_file(pool), ())


def _of_dns(pool: PoolSpec, dns: DnsSource) -> Source:
    return Source(pool.name, f"dns {dns}")


def _of_file(pool: PoolSpec) -> Source:
    return Source(pool.name, f"file {pool.servers_file}")


@attrs.define
class Known:
    """What is known of one source."""

    servers: tuple[ServerSpec, ...] = ()
    """The last good set."""
    failures: int = 0
    """Looks that failed, wholly or in part, since the last good one."""

    def take(self, source: Source, servers: tuple[ServerSpec, ...], errors: tuple[str, ...]) -> Event | None:
        """What a look gave. If it is no server at all, the last good set stays.

        Returns what is to be said: once per streak of failures, and when that is over.
        """
        if servers:
            self.servers = servers
        if errors or not servers:
            self.failures += 1
            if self.failures > 1:
                return None
            return DiscoveryFailed(*source, errors or ("there are no servers",), len(self.servers))
        failures, self.failures = self.failures, 0
        return DiscoveryRestored(*source, failures, len(self.servers)) if failures else None
