"""The configuration with the discovered servers. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import attrs

from lb.events import DiscoveryFailed, DiscoveryRestored, Event
from lb.model import Config, DnsSource, PoolSpec, ServerSpec

__all__ = ["Known", "SourceKey", "complete", "key_of_dns", "key_of_file"]


class SourceKey(NamedTuple):
    """Identity of a pool's discovery source. Its servers are kept as long as the pool names the source."""

    pool: str
    text: str
    """``dns web.internal:80`` or ``file web.servers``."""


def complete(config: Config, found: Mapping[SourceKey, Iterable[ServerSpec]]) -> Config:
    """Return the configuration with discovered servers. Order in a pool: configured servers, DNS, file.

    Of several servers with the same name the first counts. Pools without sources stay the same object.
    """
    return attrs.evolve(config, pools={name: _complete(pool, found) for name, pool in config.pools.items()})


def _complete(pool: PoolSpec, found: Mapping[SourceKey, Iterable[ServerSpec]]) -> PoolSpec:
    if not (pool.dns or pool.servers_file):
        return pool
    servers = {server.name: server for server in pool.servers}
    for server in _found(pool, found):
        servers.setdefault(server.name, server)
    return attrs.evolve(pool, servers=tuple(servers.values()))


def _found(pool: PoolSpec, found: Mapping[SourceKey, Iterable[ServerSpec]]) -> Iterator[ServerSpec]:
    for dns in pool.dns:
        for server in found.get(key_of_dns(pool, dns), ()):
            yield attrs.evolve(
                server,
                weight=dns.weight if dns.port else server.weight,
                backup=dns.backup or server.backup,
                max_connections=dns.max_connections,
                check_port=dns.check_port,
            )
    if pool.servers_file:
        yield from found.get(key_of_file(pool), ())


def key_of_dns(pool: PoolSpec, dns: DnsSource) -> SourceKey:
    return SourceKey(pool.name, f"dns {dns}")


def key_of_file(pool: PoolSpec) -> SourceKey:
    return SourceKey(pool.name, f"file {pool.servers_file}")


@attrs.define
class Known:
    """The state of one discovery source."""

    servers: tuple[ServerSpec, ...] = ()
    """The last good list."""
    failures: int = 0
    """Look-ups that failed, completely or partly, since the last good one."""

    def take(self, source: SourceKey, servers: tuple[ServerSpec, ...], errors: tuple[str, ...]) -> Event | None:
        """Record the result of a look-up. Without any server, the last good list stays.

        Returns the event to report: once for a series of failures, and once at its end.
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
