"""Read health checks from the configuration file: the probe, its options, and where it connects to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from healthcheck import registry as probes
from lb.config.plugins import read_plugin
from lb.config.tls import read_pool_tls
from lb.model import CheckSpec, CheckTls, HealthSpec, PluginSpec, PoolSpec, ServerSpec
from lb.model.table import Table, join
from lb.model.values import Reader, boolean, choice, duration_above_zero, interval, ip_address, name, text, whole_number

__all__ = ["CHECK_KEYS", "HEALTH_KEYS", "WITHOUT_TLS", "check_ports", "check_shared", "read_health"]

WITHOUT_TLS = ("exec", "tls")
"""Probes that do not connect, or that always use TLS, with options of their own."""

_PLACE: Mapping[str, Reader[object]] = {
    "port": whole_number(most=65_535),
    "address": ip_address,
}
HEALTH_KEYS: Mapping[str, Reader[object]] = {
    "interval": interval,
    "fast_interval": interval,
    "down_interval": interval,
    "timeout": duration_above_zero,
    "rise": whole_number(least=1),
    "fall": whole_number(least=1),
    **_PLACE,
    "initial": choice(HealthSpec, "initial"),
    "require": choice(HealthSpec, "require"),
    "share": boolean,
}
CHECK_KEYS: Mapping[str, Reader[object]] = {
    **_PLACE,
    "name": name,
}


def read_health(pool: Table, servers: tuple[ServerSpec, ...], directory: Path) -> HealthSpec | None:
    """Read ``[pools.<pool>.health]``: common keys and the probe's options; None for ``health = false``."""
    if pool.has("health") and pool.content["health"] is False:
        return None
    health = pool.table("health")
    values = health.values(HEALTH_KEYS)
    values["tls"] = _tls(health, servers, directory)
    checks = tuple(_check(health.below(content, at), servers, directory) for at, content in health.items("checks"))
    if health.content.get("checks") == []:
        health.complain("must not be empty", health.at("checks"))
    if not checks:
        spec = HealthSpec(probe=_probe(health, directory), **values)
    else:
        if health.has("probe"):
            health.complain("cannot be combined with 'checks'; add it to them", health.at("probe"))
        health.finish()
        spec = HealthSpec(checks=checks, **values)
    if spec.share and any(check.probe.name == "agent" for check in spec.all_checks):
        health.complain("cannot be combined with the probe 'agent': each node has to hear it", health.at("share"))
    check_ports(pool, servers, spec)
    return spec


def _check(table: Table, servers: tuple[ServerSpec, ...], directory: Path) -> CheckSpec:
    """Read one of several checks: a probe and its options."""
    values = table.values(CHECK_KEYS)
    return CheckSpec(tls=_tls(table, servers, directory), probe=_probe(table, directory), **values)


def _tls(table: Table, servers: tuple[ServerSpec, ...], directory: Path) -> CheckTls:
    """Read ``tls`` of checks."""
    if table.has("tls") and table.content["tls"] is False:
        return False
    elsewhere = bool(table.content.get("address"))
    return read_pool_tls(table, tuple(each for each in servers if not (elsewhere or each.check_address)), directory)


def _probe(table: Table, directory: Path) -> PluginSpec:
    """Read ``probe``; its options are the keys of the table that have not been read yet."""
    probe = table.value("probe", text) if table.has("probe") else HealthSpec().probe.name
    if probe in WITHOUT_TLS and table.content.get("tls"):
        table.complain(f"has no effect with the probe {probe!r}", table.at("tls"))
    return PluginSpec("") if probe is None else read_plugin(probes, probe, table.at("probe"), table, directory)


def check_shared(pools: Iterable[PoolSpec], root: Table) -> None:
    """Checks are shared with the other nodes of a cluster: there must be one."""
    if root.content.get("cluster") is None:
        for pool in pools:
            if pool.health is not None and pool.health.share:
                place = f"{join('pools', pool.name)}.health.share"
                root.complain("needs [cluster]: its nodes share the checks", place)


def check_ports(pool: Table, servers: tuple[ServerSpec, ...], spec: HealthSpec) -> None:
    """A Unix socket has no port: another address needs one, and a port needs another address."""
    for server in servers:
        if server.address.is_unix:
            if any(check.address and not check.port for check in spec.checks_of(server)):
                pool.complain(f"the checks of {server.name!r} have an address, and no port", pool.at("health"))
            if server.check_port and not all(check.address for check in spec.checks_of(server)):
                pool.complain(f"check_port of {server.name!r} needs check_address as well", pool.at("servers"))
