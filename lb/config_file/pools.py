"""Pools of the configuration file: their servers, their checks, how one server is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from healthcheck import registry as probes
from lb.config_file.dns import nameserver, read_dns_source
from lb.config_file.plugins import read_plugin
from lb.config_file.table import Table
from lb.config_file.tls import read_pool_tls
from lb.config_file.values import (
    Reader,
    boolean,
    choice,
    duration,
    duration_above_zero,
    file_name,
    name,
    server_address,
    shown,
    text,
    whole_number,
)
from lb.model import CheckSpec, DnsSource, HealthSpec, OutlierSpec, PassiveSpec, PluginSpec, PoolSpec, ServerSpec
from strategies import registry as strategies

__all__ = ["read_pool", "read_server", "read_servers"]

_HEAVIEST = 65_535  # ketama holds 160 points a unit, so this is ten million of them already; a guess at "enough"

_POOL: Mapping[str, Reader[object]] = {
    "connect_timeout": duration_above_zero,
    "retries": whole_number(),
    "when_all_down": choice(PoolSpec, "when_all_down"),
    "hold_timeout": duration_above_zero,
    "queue": whole_number(),
    "queue_timeout": duration_above_zero,
    "on_down": choice(PoolSpec, "on_down"),
    "on_remove": choice(PoolSpec, "on_remove"),
    "drain_timeout": duration,
    "slow_start": duration,
    "resolve_interval": duration_above_zero,
    "send_proxy": choice(PoolSpec, "send_proxy"),
}
_HEALTH: Mapping[str, Reader[object]] = {
    "interval": duration_above_zero,
    "fast_interval": duration_above_zero,
    "timeout": duration_above_zero,
    "rise": whole_number(least=1),
    "fall": whole_number(least=1),
    "port": whole_number(most=65_535),
    "initial": choice(HealthSpec, "initial"),
    "require": choice(HealthSpec, "require"),
}
_CHECK: Mapping[str, Reader[object]] = {
    "port": whole_number(most=65_535),
    "name": name,
}
_PASSIVE: Mapping[str, Reader[object]] = {
    "failures": whole_number(),
    "eject_for": duration_above_zero,
}
_OUTLIER: Mapping[str, Reader[object]] = {
    "interval": duration_above_zero,
    "factor": whole_number(least=2),
    "min_difference": duration,
    "first_byte": boolean,
    "min_servers": whole_number(least=3),  # of two, none is more than twice as slow as the middle of both
    "min_samples": whole_number(least=1),
    "max_ejected_percent": whole_number(most=100),
    "eject_for": duration_above_zero,
    "dry_run": boolean,
}
SERVER_KEYS: Mapping[str, Reader[object]] = {
    "weight": whole_number(most=_HEAVIEST),
    "backup": boolean,
    "max_connections": whole_number(),
}


def read_pool(pool: str, table: Table, directory: Path) -> PoolSpec:
    """The table ``[pools.<pool>]`` of a file in this directory; what is wrong with it goes to the table's errors."""
    table.convert(pool, name, table.path)
    file = table.value("servers_file", file_name)
    servers, dns = read_servers(table)
    nameservers = (table.convert(value, nameserver, path) for path, value in table.items("nameservers"))
    strategy = _strategy(table)
    health = _health(table)
    passive_table = table.table("passive")
    passive = PassiveSpec(**passive_table.values(_PASSIVE))
    passive_table.finish()
    outlier = _outlier(table, most_servers=math.inf if dns or file else len(servers))
    tls = read_pool_tls(table, servers, directory)
    values = table.values(_POOL)
    table.finish()
    return PoolSpec(
        pool,
        servers,
        strategy,
        health=health,
        passive=passive,
        outlier=outlier,
        tls=tls,
        dns=dns,
        nameservers=tuple(address for address in nameservers if address),
        servers_file=str(directory / file) if file else "",
        **values,
    )


def _outlier(table: Table, most_servers: float) -> OutlierSpec | None:
    """``[pools.<pool>.outlier]``; None if it is absent, or false."""
    if not table.has("outlier") or table.content["outlier"] is False:
        return None
    outlier = table.below({}, table.at("outlier")) if table.content["outlier"] is True else table.table("outlier")
    spec = OutlierSpec(**outlier.values(_OUTLIER))
    outlier.finish()
    if most_servers < spec.min_servers:
        outlier.complain(f"has no effect: the pool has {most_servers} servers, and min_servers is {spec.min_servers}")
    return spec


def _strategy(table: Table) -> PluginSpec:
    """``strategy``: a name, or a table of a name and options."""
    if not table.has("strategy"):
        return PoolSpec("").strategy
    given, at = table.content["strategy"], table.at("strategy")
    if not isinstance(given, str | dict):
        table.complain(f"must be a name or a table with a name, not {shown(given)}", at)
        return PluginSpec("")
    options = table.below(given if isinstance(given, dict) else {"name": given}, at)
    strategy = options.value("name", text)
    if strategy is None:
        if "name" not in options.content:
            options.complain("missing, the name of a strategy", options.at("name"))
        return PluginSpec("")
    return read_plugin(strategies, strategy, at, options)


def _health(table: Table) -> HealthSpec | None:
    """``[pools.<pool>.health]``: the keys of every probe, and the probe's own; None for ``health = false``."""
    if table.has("health") and table.content["health"] is False:
        return None
    health = table.table("health")
    values = health.values(_HEALTH)
    checks = tuple(_check(health.below(content, path)) for path, content in health.items("checks"))
    if health.content.get("checks") == []:
        health.complain("must not be empty", health.at("checks"))
    if not checks:
        return HealthSpec(probe=_probe(health), **values)
    if health.has("probe"):
        health.complain("there are 'checks' as well: make it one of them", health.at("probe"))
    health.finish()
    return HealthSpec(checks=checks, **values)


def _check(table: Table) -> CheckSpec:
    """One of several checks: a probe and its options."""
    values = table.values(_CHECK)
    return CheckSpec(probe=_probe(table), **values)


def _probe(table: Table) -> PluginSpec:
    """``probe``, and as its options all keys of the table that are not known yet."""
    probe = table.value("probe", text) if table.has("probe") else HealthSpec().probe.name
    return PluginSpec("") if probe is None else read_plugin(probes, probe, table.at("probe"), table)


def read_servers(table: Table) -> tuple[tuple[ServerSpec, ...], tuple[DnsSource, ...]]:
    """The list ``servers`` of a pool, or of a listener that spells out its pool, and the DNS names in it.

    None at all is an error: it is more often a template gone wrong than meant, and would turn every client away.
    """
    if not (table.has("servers") or table.content.get("servers_file")):
        table.complain("missing, a pool needs at least one server", table.at("servers"))
    elif table.content.get("servers") == []:
        table.complain("a pool needs at least one server", table.at("servers"))
    servers: dict[str, ServerSpec] = {}
    dns: dict[str, DnsSource] = {}
    owners: dict[str, str] = {}
    for path, value in table.items("servers"):
        entry: ServerSpec | DnsSource | None
        if isinstance(value, dict) and "dns" in value:
            entry = read_dns_source(table.below(value, path), SERVER_KEYS)
        else:
            entry = read_server(value, path, table)
        if entry is None:
            continue
        own_name = entry.name if isinstance(entry, ServerSpec) else f"dns {entry}"
        if own_name in owners:
            what = "is the name of" if isinstance(entry, ServerSpec) else "is looked up for"
            table.complain(f"{own_name!r} {what} {owners[own_name]} already", path)
        owners.setdefault(own_name, path)
        if isinstance(entry, ServerSpec):
            servers[own_name] = entry
        else:
            dns[own_name] = entry
    return tuple(servers.values()), tuple(dns.values())


def read_server(value: object, path: str, table: Table) -> ServerSpec | None:
    """An address, or a table with one; None if it has none that is right."""
    if isinstance(value, str):
        plain_address = table.convert(value, server_address, path)
        return ServerSpec(plain_address.text, plain_address) if plain_address else None
    if not isinstance(value, dict):
        table.complain(f"must be an address or a table, not {shown(value)}", path)
        return None
    entry = table.below(value, path)
    address = entry.value("address", server_address)
    if not entry.has("address"):
        entry.complain("missing, as in '127.0.0.1:9001'", entry.at("address"))
    own_name = entry.value("name", _server_name(value.get("address")))
    values = entry.values(SERVER_KEYS)
    entry.finish()
    return ServerSpec(own_name or address.text, address, **values) if address else None


def _server_name(address: object) -> Reader[str]:
    """A name, or the address once more, which is the default and may hold '/' (``unix:/path``)."""
    return lambda value: text(value) if value == address else name(value)
