"""The discovery sources of a configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lb.config.load import ConfigError
from lb.discovery.dns import AskNameserver, DnsServers, dns_client
from lb.discovery.file import FileServers
from lb.discovery.merge import SourceKey, complete, key_of_dns, key_of_file
from lb.discovery.source import Source
from lb.model import Config

__all__ = ["sources", "with_servers_files"]


def sources(config: Config, new_client: Callable[[], Awaitable[AskNameserver]] = dns_client) -> dict[SourceKey, Source]:
    """Return all discovery sources that a configuration names."""
    found: dict[SourceKey, Source] = {}
    for pool in config.pools.values():
        for dns in pool.dns:
            found[key_of_dns(pool, dns)] = DnsServers(dns.dns, dns.port, pool.nameservers, new_client)
        if pool.servers_file:
            found[key_of_file(pool)] = FileServers(pool.servers_file)
    return found


def with_servers_files(config: Config) -> Config:
    """Return the configuration with the servers of its files. Raises ConfigError with the errors of all files."""
    found = {}
    errors: list[str] = []
    for key, source in sources(config).items():
        result = source.read()
        if result is not None:
            found[key], file_errors = result
            errors += file_errors
    if errors:
        raise ConfigError(errors)
    return complete(config, found)
