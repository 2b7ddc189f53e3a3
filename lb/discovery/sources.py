"""The discovery sources of a configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from lb.config.load import ConfigError
from lb.discovery.file import FileServers
from lb.discovery.known import Known, SourceKey
from lb.discovery.last_set import LastSet
from lb.discovery.merge import complete, key_of_dns, key_of_etcd, key_of_file, key_of_kubernetes
from lb.discovery.source import Source
from lb.model import Config, DnsSource, EtcdSource, KubernetesSource, PoolSpec

if TYPE_CHECKING:
    from lb.discovery.dns import AskNameserver

__all__ = ["sources", "with_servers_files"]


def sources(
    config: Config, new_client: Callable[[], Awaitable[AskNameserver]] | None = None
) -> dict[SourceKey, Source]:
    """Return all discovery sources that a configuration names. ``new_client`` replaces the real DNS client."""
    found: dict[SourceKey, Source] = {}
    for pool in config.pools.values():
        for dns in pool.dns:
            found[key_of_dns(pool, dns)] = _dns_servers(pool, dns, new_client)
        if pool.servers_file:
            found[key_of_file(pool)] = FileServers(pool.servers_file)
        if pool.etcd:
            found[key_of_etcd(pool)] = _etcd_servers(pool.name, pool.etcd)
        if pool.kubernetes:
            found[key_of_kubernetes(pool)] = _kubernetes_servers(pool.kubernetes)
    return found


def _dns_servers(pool: PoolSpec, dns: DnsSource, new_client: Callable[[], Awaitable[AskNameserver]] | None) -> Source:
    from lb.discovery.dns import DnsServers, dns_client  # noqa: PLC0415 - most configurations do not use DNS discovery

    return DnsServers(dns.dns, dns.port, pool.nameservers, dns.family, dns.hold, new_client or dns_client)


def _etcd_servers(pool: str, source: EtcdSource) -> Source:
    from lb.discovery.etcd import EtcdServers  # noqa: PLC0415 - likewise

    return EtcdServers(source, LastSet.of(pool, source))


def _kubernetes_servers(source: KubernetesSource) -> Source:
    from lb.discovery.kubernetes import KubernetesServers  # noqa: PLC0415 - likewise

    return KubernetesServers(source)


def with_servers_files(config: Config) -> Config:
    """Return the configuration with the servers of its files, also of those that keep the last servers from etcd.

    Raises ConfigError with the errors of all files.
    """
    found = {}
    errors: list[str] = []
    for key, source in sources(config).items():
        result = source.read()
        if result is not None:
            servers, file_errors = result
            found[key] = Known(servers)
            errors += file_errors
    if errors:
        raise ConfigError(errors)
    return complete(config, found)
