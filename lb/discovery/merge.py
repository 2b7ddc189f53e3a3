"""The configuration with the discovered servers. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from lb.discovery.known import Known, SourceKey
from lb.model import Config, DnsSource, PoolSpec, ServerSpec

__all__ = ["complete", "held_servers", "key_of_dns", "key_of_etcd", "key_of_file", "key_of_kubernetes", "keys_of"]


def complete(config: Config, found: Mapping[SourceKey, Known]) -> Config:
    """Return the configuration with discovered servers. Order in a pool: configured, DNS, file, etcd, Kubernetes.

    Of several servers with the same name the first counts. Pools without sources stay the same object.
    """
    return attrs.evolve(config, pools={name: _complete(pool, found) for name, pool in config.pools.items()})


def _complete(pool: PoolSpec, found: Mapping[SourceKey, Known]) -> PoolSpec:
    if not pool.is_discovered:
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
    if pool.etcd:
        yield from found.get(key_of_etcd(pool), nothing).all_servers
    if pool.kubernetes:
        yield from found.get(key_of_kubernetes(pool), nothing).all_servers


def held_servers(config: Config, found: Mapping[SourceKey, Known]) -> frozenset[tuple[str, str]]:
    """Return the servers, as pool and name, that only drain: no source has them any more."""
    held = set()
    for pool in config.pools.values():
        if pool.is_discovered:
            sources = [found[key] for key in keys_of(pool) if key in found]
            present = {server.name for server in pool.servers}.union(*(known.names for known in sources))
            held |= {(pool.name, name) for known in sources for name in known.held if name not in present}
    return frozenset(held)


def keys_of(pool: PoolSpec) -> Iterator[SourceKey]:
    """Yield the keys of a pool's sources, in the order of their servers."""
    yield from (key_of_dns(pool, dns) for dns in pool.dns)
    if pool.servers_file:
        yield key_of_file(pool)
    if pool.etcd:
        yield key_of_etcd(pool)
    if pool.kubernetes:
        yield key_of_kubernetes(pool)


def key_of_dns(pool: PoolSpec, dns: DnsSource) -> SourceKey:
    return SourceKey(pool.name, f"dns {dns}")


def key_of_file(pool: PoolSpec) -> SourceKey:
    return SourceKey(pool.name, f"file {pool.servers_file}")


def key_of_etcd(pool: PoolSpec) -> SourceKey:
    return SourceKey(pool.name, str(pool.etcd))


def key_of_kubernetes(pool: PoolSpec) -> SourceKey:
    return SourceKey(pool.name, str(pool.kubernetes))
