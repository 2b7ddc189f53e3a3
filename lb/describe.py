"""A configuration in words, for people: what would run (``lb check``), and single values (``lb diff``)."""

from __future__ import annotations

from collections.abc import Iterator

from lb.config_values import duration_text
from lb.model import CheckSpec, Config, HealthSpec, ListenerSpec, PluginSpec, PoolSpec, ServerSpec

__all__ = ["describe", "listener_text", "server_text", "value_text"]


def describe(config: Config) -> str:
    """What would run: workers if more than one, listeners with the pool of each, then pools with their servers.

    No final newline.
    """
    workers = config.process.workers
    lines = [] if workers == 1 else [f"workers: {'one per CPU' if workers == 'auto' else workers}"]
    lines += [f"listener {listener.name}: {listener_text(listener)}" for listener in config.listeners.values()]
    for pool in config.pools.values():
        lines.append(f"pool {pool.name}: {', '.join(_pool(pool))}")
        width = max((len(server.name) for server in pool.servers), default=0)
        lines += [f"  {server.name:{width}}  {server_text(server)}" for server in pool.servers]
    return "\n".join(lines)


def listener_text(listener: ListenerSpec) -> str:
    """Where it listens and whom it serves: ``127.0.0.1:8080, [::1]:8080 -> pool web``."""
    return f"{', '.join(map(str, listener.bind))} -> pool {listener.pool}"


def server_text(server: ServerSpec) -> str:
    """``10.0.0.1:80, weight 2, backup``: the address, then what is not plain."""
    parts = [server.address.text]
    if server.weight != 1:
        parts.append(f"weight {server.weight}")
    if server.backup:
        parts.append("backup")
    if server.max_connections:
        parts.append(f"at most {server.max_connections} connections")
    return ", ".join(parts)


def _pool(pool: PoolSpec) -> Iterator[str]:
    yield value_text(pool.strategy)
    yield value_text(pool.health) if pool.health else "no active checks"
    if pool.passive.failures:
        yield f"ejects after {pool.passive.failures} failed connects"
    if pool.when_all_down != "reject":
        yield f"when all are down: {pool.when_all_down}"
    if pool.slow_start:
        yield f"slow start {duration_text(pool.slow_start)}"
    if pool.queue:
        yield f"when all are full: {pool.queue} wait {duration_text(pool.queue_timeout)}"


def _checks(health: HealthSpec) -> str:
    if not health.checks:
        return f"probe {value_text(health.probe)}"
    return f"{health.require} of {value_text(health.checks)}"


def value_text(value: object) -> str:
    """A value of the model nearly as the file spells it. Its floats are durations."""
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return duration_text(value)
    if isinstance(value, PluginSpec):
        options = ", ".join(f"{key}={option!r}" for key, option in value.options)
        return f"{value.name} ({options})" if options else value.name
    if isinstance(value, HealthSpec):
        return f"{_checks(value)} every {duration_text(value.interval)}"
    if isinstance(value, CheckSpec):
        name = f"{value.name}: " if value.name else ""
        return f"{name}{value_text(value.probe)}{f' on port {value.port}' if value.port else ''}"
    if isinstance(value, tuple):
        return ", ".join(map(value_text, value))
    return str(value)
