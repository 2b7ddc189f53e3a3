"""The configuration for a simulation: without features that need bytes or the network."""

from __future__ import annotations

import attrs

from lb.config.load import ConfigError
from lb.discovery.sources import with_servers_files
from lb.model import Config, ForwardSettings, HealthSpec, HttpSettings, ListenerSpec, MediaSpec, PoolSpec, TcpSettings

__all__ = ["not_simulated", "virtual_config"]


def virtual_config(config: Config) -> Config:
    """Return the configuration for a simulation, with the servers of its servers files.

    A listener of mode ``http`` becomes one of mode ``tcp``, to which each request comes as a client of its own; so does
    one of mode ``forward`` with parents. Live streams and films are left out.
    Raises ConfigError, also for a pool without servers.
    """
    config = with_servers_files(config)
    empty = [
        f"pools.{pool.name}: has only servers from DNS, etcd or Kubernetes, which a rehearsal does not look up"
        for pool in config.written_pools.values()
        if not pool.servers
    ]
    if empty:
        raise ConfigError(empty)
    return attrs.evolve(
        config,
        listeners={name: _listener(spec, config) for name, spec in config.listeners.items() if _pools(spec, config)},
        pools={name: _pool(spec) for name, spec in config.written_pools.items()},
        admin=None,
        media=MediaSpec(),
    )


def _pools(spec: ListenerSpec, config: Config) -> list[str]:
    return [pool for pool in spec.settings.pools if pool in config.written_pools]


def _listener(spec: ListenerSpec, config: Config) -> ListenerSpec:
    bind = tuple(attrs.evolve(address, path="") for address in spec.bind)  # creates and removes no socket file
    settings = spec.settings
    if isinstance(settings, TcpSettings):
        settings = attrs.evolve(settings, sni=None)
    elif isinstance(settings, HttpSettings):
        pool = settings.pool or _pools(spec, config)[0]  # the listener's own, else that of its first route with one
        settings = TcpSettings(pool, idle_timeout=config.pools[pool].http.response_timeout)
    elif isinstance(settings, ForwardSettings):
        settings = TcpSettings(settings.parents, idle_timeout=settings.idle_timeout)
    return attrs.evolve(spec, mode="tcp", bind=bind, settings=settings, tls=None, accept_proxy=False)


def _pool(spec: PoolSpec) -> PoolSpec:
    spec = attrs.evolve(spec, dns=(), servers_file="", etcd=None, kubernetes=None)
    return attrs.evolve(spec, tls=None, health=_health(spec.health), send_proxy="off")


def _health(spec: HealthSpec | None) -> HealthSpec | None:
    """Return the checks without TLS, not shared with other balancers."""
    if spec is None:
        return None
    return attrs.evolve(
        spec, tls=None, share=False, checks=tuple(attrs.evolve(check, tls=None) for check in spec.checks)
    )


def not_simulated(config: Config) -> list[str]:
    """Return the parts of the configuration that are not simulated, a line each."""
    lines = [
        f"listeners.{listener.name}.sni: all clients go to pool {listener.settings.pool}"
        for listener in config.listeners.values()
        if isinstance(listener.settings, TcpSettings) and listener.settings.sni
    ]
    for listener in config.listeners.values():
        if isinstance(listener.settings, HttpSettings):
            lines += _not_simulated_routes(listener, _pools(listener, config))
        if isinstance(listener.settings, ForwardSettings) and not listener.settings.parents:
            lines.append(f"listeners.{listener.name}: its clients name their servers themselves")
    for pool in config.pools.values():
        lines += [f"pools.{pool.name}: servers from DNS: {dns}" for dns in pool.dns]
        lines += [
            f"pools.{pool.name}: servers that come and go in {each}" for each in (pool.etcd, pool.kubernetes) if each
        ]
        if pool.health is not None and pool.health.share:
            lines.append(f"pools.{pool.name}.health.share: each balancer checks all servers")
    return [*lines, *(["media: live streams and films"] if config.media else [])]


def _not_simulated_routes(listener: ListenerSpec, pools: list[str]) -> list[str]:
    settings = listener.settings
    assert isinstance(settings, HttpSettings)  # noqa: S101 - the caller has seen it
    if not pools:
        return [f"listeners.{listener.name}: no server gets its requests"]
    if len(settings.routes) == (0 if settings.pool else 1):
        return []
    return [f"listeners.{listener.name}.routes: all requests go to pool {settings.pool or pools[0]}"]
