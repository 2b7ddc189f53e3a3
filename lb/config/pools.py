"""Read pools from the configuration file: servers, health checks, strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import attrs

from lb.config.etcd import read_etcd_source
from lb.config.health import read_health
from lb.config.kubernetes import read_kubernetes_source
from lb.config.plugins import read_plugin
from lb.config.pool_http import read_pool_http, read_sticky, status_ranges
from lb.config.pool_proxy import read_proxy_login
from lb.config.tls import read_pool_tls
from lb.model import (
    DnsSource,
    HttpPoolSpec,
    OutlierSpec,
    PassiveSpec,
    PluginSpec,
    PoolSpec,
    PoolTlsSpec,
    ProxyTlv,
    ServerSpec,
)
from lb.model.address import Address
from lb.model.shape import (
    IPV4_PATTERN,
    IPV6_PATTERN,
    NAME_PATTERN,
    PORT_PATTERN,
    UNIX_PATTERN,
    Shape,
    list_of,
    shape_of,
    shaped,
    whole,
)
from lb.model.table import Table
from lb.model.values import (
    Reader,
    boolean,
    byte_size,
    choice,
    duration,
    duration_above_zero,
    file_name,
    interval,
    ip_address,
    name,
    server_address,
    shown,
    text,
    whole_number,
)
from strategies import registry as strategies

__all__ = [
    "OUTLIER_KEYS",
    "PASSIVE_KEYS",
    "POOL_KEYS",
    "SERVER_KEYS",
    "dns_name",
    "name_of_server",
    "nameserver",
    "read_dns_source",
    "read_pool",
    "read_server",
    "read_servers",
]

_HEAVIEST = 65_535  # ketama uses 160 points per unit: ten million points. A guess at "enough"
_LEAST_BUFFER = 4096  # less than a segment or two makes a connection crawl: an estimate


@shaped(list_of({"enum": list(get_args(ProxyTlv))}))
def proxy_tlvs(value: object) -> tuple[ProxyTlv, ...]:
    """Read the names of TLVs."""
    known = get_args(ProxyTlv)
    if not isinstance(value, list):
        raise ValueError(f"must be a list like ['authority'], not {shown(value)}")  # noqa: TRY004
    for each in value:
        if each not in known:
            raise ValueError(f"knows {', '.join(map(repr, known))}, not {shown(each)}")
    return tuple(dict.fromkeys(value))


POOL_KEYS: Mapping[str, Reader[object]] = {
    "connect_timeout": duration_above_zero,
    "retries": whole_number(),
    "when_all_down": choice(PoolSpec, "when_all_down"),
    "hold_timeout": duration_above_zero,
    "queue": whole_number(),
    "queue_timeout": duration_above_zero,
    "on_down": choice(PoolSpec, "on_down"),
    "on_return": choice(PoolSpec, "on_return"),
    "on_remove": choice(PoolSpec, "on_remove"),
    "drain_timeout": duration,
    "slow_start": duration,
    "resolve_interval": interval,
    "send_proxy": choice(PoolSpec, "send_proxy"),
    "proxy_tlvs": proxy_tlvs,
    "buffer": byte_size(_LEAST_BUFFER),
}
PASSIVE_KEYS: Mapping[str, Reader[object]] = {
    "failures": whole_number(),
    "eject_for": duration_above_zero,
    "statuses": status_ranges,
}
OUTLIER_KEYS: Mapping[str, Reader[object]] = {
    "interval": interval,
    "factor": whole_number(least=2),
    "min_difference": duration,
    "first_byte": boolean,
    "min_servers": whole_number(least=3),  # of two servers, none can be twice as slow as their median
    "min_samples": whole_number(least=1),
    "max_ejected_percent": whole_number(most=100),
    "eject_for": duration_above_zero,
    "dry_run": boolean,
}
SERVER_KEYS: Mapping[str, Reader[object]] = {
    "weight": whole_number(most=_HEAVIEST),
    "backup": boolean,
    "max_connections": whole_number(),
    "check_port": whole_number(most=65_535),
}


def read_pool(pool: str, table: Table, directory: Path) -> PoolSpec:
    """Read the table ``[pools.<pool>]``. Paths are relative to ``directory``. Errors are added to the table."""
    table.convert(pool, name, table.path)
    file = table.value("servers_file", file_name)
    etcd = read_etcd_source(table, directory)
    kubernetes = read_kubernetes_source(table, directory)
    servers, dns = read_servers(table, directory)
    nameservers = (table.convert(value, nameserver, path) for path, value in table.items("nameservers"))
    strategy = _strategy(table, directory)
    health = read_health(table, servers, directory)
    passive = _passive(table.table("passive"))
    outlier = _outlier(table, most_servers=math.inf if dns or file or etcd or kubernetes else len(servers))
    source = _source(table)
    http, sticky = read_pool_http(table), read_sticky(table, directory)
    tls = _for_protocol(read_pool_tls(table, servers, directory), http, table)
    proxy = read_proxy_login(table, directory)
    values = table.values(POOL_KEYS)
    if values.get("proxy_tlvs") and values.get("send_proxy") != "v2":
        table.complain("has no effect without send_proxy = 'v2'", table.at("proxy_tlvs"))
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
        etcd=etcd,
        kubernetes=kubernetes,
        source=source,
        http=http,
        sticky=sticky,
        proxy=proxy,
        **values,
    )


def _for_protocol(tls: PoolTlsSpec | None, http: HttpPoolSpec, table: Table) -> PoolTlsSpec | None:
    """HTTP/2 over TLS is agreed upon by ALPN: RFC 9113, section 3.2."""
    if tls is None or http.protocol != "h2" or "h2" in tls.alpn:
        return tls
    if tls.alpn:
        table.complain("must have 'h2', as the pool's http.protocol", f"{table.at('tls')}.alpn")
    return attrs.evolve(tls, alpn=("h2",))


def _passive(table: Table) -> PassiveSpec:
    spec = PassiveSpec(**table.values(PASSIVE_KEYS))
    if spec.statuses and not spec.failures:
        table.complain("has no effect with failures = 0", table.at("statuses"))
    table.finish()
    return spec


def _source(table: Table) -> tuple[str, ...]:
    """Read ``source``: one address of this host, or a list of them."""
    if not table.has("source"):
        return ()
    given = table.content["source"]
    places = table.items("source") if isinstance(given, list) else [(table.at("source"), given)]
    found = (table.convert(value, ip_address, path) for path, value in places)
    return tuple(each for each in found if each)


def _outlier(table: Table, most_servers: float) -> OutlierSpec | None:
    """Read ``[pools.<pool>.outlier]``; None if it is absent or false."""
    if not table.has("outlier") or table.content["outlier"] is False:
        return None
    outlier = table.below({}, table.at("outlier")) if table.content["outlier"] is True else table.table("outlier")
    spec = OutlierSpec(**outlier.values(OUTLIER_KEYS))
    outlier.finish()
    if most_servers < spec.min_servers:
        outlier.complain(f"has no effect: the pool has {most_servers} servers, and min_servers is {spec.min_servers}")
    return spec


def _strategy(table: Table, directory: Path) -> PluginSpec:
    """Read ``strategy``: a name, or a table of a name and options."""
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
    return read_plugin(strategies, strategy, at, options, directory)


def read_servers(table: Table, directory: Path) -> tuple[tuple[ServerSpec, ...], tuple[DnsSource, ...]]:
    """Read the list ``servers`` of a pool or of a listener with an inline pool. Return the servers and the DNS names.

    Paths of unix sockets are relative to ``directory``. An empty list is an error: it is mostly the result of a broken
    template, and the pool would refuse all clients.
    """
    elsewhere = table.content.get("servers_file") or not table.content.keys().isdisjoint(("etcd", "kubernetes"))
    if not (table.has("servers") or elsewhere):
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
            entry = read_server(value, path, table, directory)
        if entry is None:
            continue
        own_name = entry.name if isinstance(entry, ServerSpec) else f"dns {entry}"
        if own_name in owners:
            use = "the name of" if isinstance(entry, ServerSpec) else "looked up by"
            table.complain(f"{own_name!r} is already {use} {owners[own_name]}", path)
        owners.setdefault(own_name, path)
        if isinstance(entry, ServerSpec):
            servers[own_name] = entry
        else:
            dns[own_name] = entry
    return tuple(servers.values()), tuple(dns.values())


_OPTIONAL_SERVER_KEYS = {**SERVER_KEYS, "check_address": ip_address}


def read_server(value: object, path: str, table: Table, directory: Path, default_name: str = "") -> ServerSpec | None:
    """Read a server: an address or a table with an address. None if there is no valid address.

    A server without a name has ``default_name`` or, if that is empty, its address.
    """
    if isinstance(value, str):
        plain_address = table.convert(value, server_address(directory), path)
        return ServerSpec(default_name or plain_address.text, plain_address) if plain_address else None
    if not isinstance(value, dict):
        table.complain(f"must be an address or a table, not {shown(value)}", path)
        return None
    entry = table.below(value, path)
    address = entry.value("address", server_address(directory))
    if not entry.has("address"):
        entry.complain("missing, as in '127.0.0.1:9001'", entry.at("address"))
    own_name = entry.value("name", name_of_server(value.get("address"))) if entry.has("name") else default_name
    values = entry.values(_OPTIONAL_SERVER_KEYS)
    entry.finish()
    return ServerSpec(own_name or address.text, address, **values) if address else None


_SERVER_NAME: Shape = {"anyOf": [shape_of(name), {"type": "string", "pattern": whole(UNIX_PATTERN)}]}


def name_of_server(address: object) -> Reader[str]:
    """Read a server's name. The address, which is the default, is valid even with '/' (``unix:/path``)."""

    @shaped(_SERVER_NAME)
    def read(value: object) -> str:
        return text(value) if value == address else name(value)

    return read


_LONGEST = 253  # characters of a name: RFC 1035 section 2.3.4, less the length bytes of the wire format
_DNS_PORT = 53


def read_dns_source(entry: Table, server_keys: Mapping[str, Reader[object]]) -> DnsSource | None:
    """Read a table with ``dns``: a host name and a ``port``, or a name of SRV records, which starts with ``_``."""
    name = entry.value("dns", dns_name)
    readers = {"port": whole_number(least=1, most=65_535), "family": choice(DnsSource, "family"), "hold": duration}
    values = entry.values({**readers, **server_keys})
    if name is not None and name.startswith("_"):
        for key in ("port", "weight"):
            if key in entry.content:
                entry.complain("is set by the SRV records; remove it", entry.at(key))
                values.pop(key, None)
    elif name is not None and not entry.has("port"):
        entry.complain(
            "missing; only the SRV records of a name like '_http._tcp.web.internal' set it", entry.at("port")
        )
    entry.finish()
    return DnsSource(name, **values) if name is not None else None


@shaped({"type": "string", "pattern": whole(NAME_PATTERN), "maxLength": _LONGEST})
def dns_name(value: object) -> str:
    """Read a name to look up in DNS."""
    name = text(value)
    try:
        good = Address.parse(f"{name}:1").is_name and len(name) <= _LONGEST
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"must be a name to look up in DNS, like 'web.internal', not {shown(name)}")
    return name


@shaped(
    {
        "type": "string",
        "pattern": whole(
            rf"{IPV4_PATTERN}(?::{PORT_PATTERN})?|{IPV6_PATTERN}(?:%.+)?|\[{IPV6_PATTERN}(?:%.+)?\]:{PORT_PATTERN}"
        ),
    }
)
def nameserver(value: object) -> Address:
    """Read the address of a name server: an IP address, with or without a port."""
    given = text(value)
    for candidate in (given, f"{given}:{_DNS_PORT}", f"[{given}]:{_DNS_PORT}"):
        try:
            parsed = Address.parse(candidate)
        except ValueError:
            continue
        if parsed.host and parsed.port and not parsed.is_name:
            return parsed
    raise ValueError(f"must be an address like '10.0.0.53' or '10.0.0.53:5353', not {shown(given)}")
