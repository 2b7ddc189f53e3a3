"""A configuration as it is rehearsed: without what looks at bytes, or at the world outside."""

from __future__ import annotations

import attrs

from lb.config import ConfigError
from lb.discovery.servers_file import with_servers_files
from lb.model import Config, ListenerSpec, PoolSpec

__all__ = ["imagined", "left_out"]


def imagined(config: Config) -> Config:
    """The same, with the servers that its files list now. Raises ConfigError, also for a pool without servers."""
    config = with_servers_files(config)
    empty = [
        f"pools.{pool.name}: its servers are found in DNS, which is not looked at here"
        for pool in config.pools.values()
        if not pool.servers
    ]
    if empty:
        raise ConfigError(empty)
    return attrs.evolve(
        config,
        listeners={name: _listener(spec) for name, spec in config.listeners.items()},
        pools={name: _pool(spec) for name, spec in config.pools.items()},
        admin=None,
    )


def _listener(spec: ListenerSpec) -> ListenerSpec:
    bind = tuple(attrs.evolve(address, path="") for address in spec.bind)  # no file is made, or removed
    return attrs.evolve(spec, bind=bind, tls=None, sni=None, accept_proxy=False)


def _pool(spec: PoolSpec) -> PoolSpec:
    return attrs.evolve(spec, tls=None, send_proxy="off", dns=(), servers_file="")


def left_out(config: Config) -> list[str]:
    """What is not rehearsed of it, one line each."""
    lines = [
        f"listeners.{listener.name}.sni: all clients go to pool {listener.pool}"
        for listener in config.listeners.values()
        if listener.sni
    ]
    for pool in config.pools.values():
        lines += [f"pools.{pool.name}: servers of {dns} in DNS" for dns in pool.dns]
    return lines
