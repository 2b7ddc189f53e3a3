"""Read listeners from the configuration file: addresses, conditions for clients, pools."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from lb.config.pools import read_servers
from lb.config.tls import LISTENER_TLS_TABLE, read_listener_tls
from lb.model import (
    BandwidthSpec,
    ForwardSettings,
    ListenerSpec,
    ModeSettings,
    OptionalProxies,
    PoolSpec,
    ServerSpec,
    TcpSettings,
    modes,
)
from lb.model.address import Address, Networks
from lb.model.modes import References
from lb.model.shape import HOST_PATTERN, Keys, list_of, one_or_list, shape_of, shaped, table_of, whole
from lb.model.table import Table, join
from lb.model.values import (
    Reader,
    address,
    boolean,
    byte_size,
    duration,
    duration_above_zero,
    file_mode,
    name,
    network,
    owner,
    shown,
    text,
    whole_number,
)

__all__ = [
    "LISTENER_TABLE_KEYS",
    "check_binds",
    "check_ports_of_listeners",
    "check_same_ports",
    "pool_path",
    "pools_of_listeners",
    "read_listener",
]

LISTENER_KEYS: Mapping[str, Reader[object]] = {
    "max_connections": whole_number(),
    "backlog": whole_number(least=1),
    "header_timeout": duration_above_zero,
    "max_per_source": whole_number(),
    "rate_per_source": whole_number(),
    "keepalive": duration,
    "user_timeout": duration,
    "freebind": boolean,
    "socket_mode": file_mode,
    "socket_owner": owner,
}
_RANGE = re.compile(r"(?P<host>.*):(?P<first>[0-9]{1,5})-(?P<last>[0-9]{1,5})")
_LAST_PORT = 65_535
_MOST_PORTS = 10_000  # each is a socket: an estimate, as many as the media ports of a SIP server

_RATE = byte_size(least=1024)
"""A rate in bytes a second. With less than a KiB, a stream would move in steps of a few bytes."""


def pools_of_listeners(
    listeners: Mapping[str, Table], pools: Mapping[str, PoolSpec], directory: Path
) -> dict[str, PoolSpec]:
    """Return the pools that listeners define inline as ``servers``."""
    made = {}
    for listener, table in listeners.items():
        if not table.has("servers"):
            continue
        if listener in pools:
            table.complain(f"the pool {listener!r} is configured too; list the servers there", table.at("servers"))
        else:
            servers, dns = read_servers(table, directory)
            made[listener] = PoolSpec(listener, servers, dns=dns)
    return made


def pool_path(pool: str, content: Mapping[str, object]) -> str:
    """Return the path of a pool in a file. A pool of a listener's own is written in the listener."""
    pools = content.get("pools")
    return join("pools" if isinstance(pools, Mapping) and pool in pools else "listeners", pool)


def read_listener(listener: str, table: Table, references: References) -> ListenerSpec:
    """Read the table ``[listeners.<listener>]``."""
    table.convert(listener, name, table.path)
    binds = _binds(table, references.directory)
    mode, settings, alpn = _mode(listener, table, references)
    tls = read_listener_tls(table, references.directory, alpn)
    values = table.values(LISTENER_KEYS)
    accept_proxy = _accept_proxy(table)
    bandwidth = _bandwidth(table)
    allow, deny = _networks("allow", table), _networks("deny", table)
    if settings is not None:  # without a mode, the keys of the mode have not been read
        table.finish()
    spec = ListenerSpec(
        listener,
        binds,
        settings or TcpSettings(listener),
        mode,
        accept_proxy=accept_proxy,
        allow=allow,
        deny=deny,
        bandwidth=bandwidth,
        tls=tls,
        **values,
    )
    _complain_of_open_proxy(spec, table)
    return spec


def _complain_of_open_proxy(spec: ListenerSpec, table: Table) -> None:
    """Report a proxy that everybody may use, and that other machines can reach."""
    if not isinstance(spec.settings, ForwardSettings) or spec.allow or table.content.get("auth") is not None:
        return
    for bind in spec.bind:
        if not bind.is_local:
            table.complain(
                f"{bind.text!r} can be reached from elsewhere, and anybody could use the proxy: add 'allow' with the "
                "networks of its clients, or 'auth' with their users",
                table.at("bind"),
            )
            return


def _mode(listener: str, table: Table, references: References) -> tuple[str, ModeSettings | None, tuple[str, ...]]:
    """Return the mode's name, settings and protocols. For an unknown mode, add an error and return None as settings."""
    mode = table.value("mode", text) or "tcp"
    try:
        loaded = modes.load(mode)
        return mode, loaded.read_settings(listener, table, references), loaded.alpn
    except ValueError as error:
        table.complain(str(error), table.at("mode"))
        return mode, None, ()


def _binds(table: Table, directory: Path) -> tuple[Address, ...]:
    """Read ``bind``: one address or a list of addresses. A range of ports is an address for each."""
    if not table.has("bind"):
        table.complain('missing, as in bind = "127.0.0.1:8080"', table.at("bind"))
        return ()
    given = table.content["bind"]
    if given == []:
        table.complain("must name at least one address", table.at("bind"))
    places = table.items("bind") if isinstance(given, list) else [(table.at("bind"), given)]
    binds: list[Address] = []
    for path, value in places:
        for one in table.convert(value, _each_port, path) or ():
            bind = table.convert(one, address(directory), path)
            if bind is None:
                break
            binds.append(bind)
    return tuple(binds)


@shaped(
    {
        "anyOf": [
            shape_of(address(None)),
            {"type": "string", "pattern": whole(f"{HOST_PATTERN}?:[0-9]{{1,5}}-[0-9]{{1,5}}")},
        ]
    }
)
def _each_port(value: object) -> list[str]:
    """Read an address to listen on; a range of ports like ``:5000-5099`` is an address for each."""
    given = text(value)
    match = _RANGE.fullmatch(given)
    if match is None or given.startswith("unix:"):
        return [given]
    first, last = int(match["first"]), int(match["last"])
    if not 0 < first <= last <= _LAST_PORT:
        raise ValueError(f"a range of ports goes from a port to a higher one, up to {_LAST_PORT}, not {shown(value)}")
    if last - first >= _MOST_PORTS:
        raise ValueError(f"a range has at most {_MOST_PORTS} ports, not {last - first + 1}")
    return [f"{match['host']}:{port}" for port in range(first, last + 1)]


def _bandwidth(table: Table) -> BandwidthSpec:
    """Read ``bandwidth``: the limit of a connection, or a table of limits."""
    if not isinstance(table.content.get("bandwidth"), dict):
        return BandwidthSpec(table.value("bandwidth", _RATE) or 0)
    limits = table.table("bandwidth")
    found = BandwidthSpec(**limits.values(dict.fromkeys(("connection", "source", "listener"), _RATE)))
    limits.finish()
    return found


def _accept_proxy(table: Table) -> bool | Networks:
    """Read ``accept_proxy``: a boolean, the networks of the proxies, or a table of these and what others may do.

    An empty list would refuse all clients.
    """
    if not table.has("accept_proxy"):
        return False
    given, at = table.content["accept_proxy"], table.at("accept_proxy")
    if isinstance(given, list):
        return _proxies("accept_proxy", table)
    if isinstance(given, dict):
        inner = table.table("accept_proxy")
        proxies, others = _proxies("from", inner), inner.value("others", _others)
        inner.finish()
        return OptionalProxies(proxies.texts) if others == "plain" else proxies
    if not isinstance(given, bool):
        table.complain(f"must be true, false, a list of networks or a table, not {shown(given)}", at)
    return given is True


@shaped({"enum": ["deny", "plain"]})
def _others(value: object) -> str:
    """What peers that are no proxies do: ``deny`` or ``plain``."""
    if value not in ("deny", "plain"):
        raise ValueError(f"must be 'deny' or 'plain', not {shown(value)}")
    return str(value)


def _proxies(key: str, table: Table) -> Networks:
    if not table.content.get(key):
        table.complain("must name at least one network", table.at(key))
    return _networks(key, table)


def _networks(key: str, table: Table) -> Networks:
    """Read a list of networks; empty if the key is absent."""
    found = (table.convert(value, network, path) for path, value in table.items(key))
    return Networks(tuple(each for each in found if each))


def check_binds(listeners: Iterable[ListenerSpec], root: Table) -> None:
    """Report duplicate addresses. Port 0 may be in several listeners (each gets another port), but once in each."""
    owners: dict[tuple[str, str], str] = {}
    for listener in listeners:
        for bind in listener.bind:
            chosen_by_system = not bind.is_unix and not bind.port
            place = (_place(bind), listener.name if chosen_by_system else "")
            if place in owners:
                at = join(join("listeners", listener.name), "bind")
                root.complain(f"{bind.text!r} is taken already by the listener {owners[place]!r}", at)
            owners.setdefault(place, listener.name)


def check_ports_of_listeners(
    pools: Mapping[str, PoolSpec], listeners: Mapping[str, ListenerSpec], root: Table
) -> dict[str, PoolSpec]:
    """Return the pools, where checks of servers without a port use the lowest port of their listeners."""
    ports: dict[str, int] = {}
    for listener in listeners.values():
        for bind, pool in itertools.product(listener.bind, listener.settings.pools):
            if bind.port:
                ports[pool] = min(bind.port, ports.get(pool, bind.port))
    return {name: _with_check_ports(pool, ports.get(name, 0), root) for name, pool in pools.items()}


def _with_check_ports(pool: PoolSpec, port: int, root: Table) -> PoolSpec:
    without = {
        server for server in pool.servers if server.address.has_no_port and _is_checked_at_its_port(pool, server)
    }
    if not without:
        return pool
    if not port:
        for server in sorted(without, key=pool.servers.index):
            message = f"{server.name!r} has no port; its checks need health.port, or health = false"
            root.complain(message, join(pool_path(pool.name, root.content), "servers"))
    servers = (attrs.evolve(server, check_port=port) if server in without else server for server in pool.servers)
    return attrs.evolve(pool, servers=tuple(servers))


def _is_checked_at_its_port(pool: PoolSpec, server: ServerSpec) -> bool:
    return pool.health is not None and not all(check.port for check in pool.health.checks_of(server))


def check_same_ports(listeners: Iterable[ListenerSpec], pools: Mapping[str, PoolSpec], root: Table) -> None:
    """Report listeners whose clients come to no port, in front of servers at the port of their clients."""
    for listener in listeners:
        if any(bind.is_unix for bind in listener.bind):
            served = [server for name in listener.settings.pools if name in pools for server in pools[name].servers]
            for server in filter(lambda each: each.address.has_no_port, served):
                at = join(join("listeners", listener.name), "bind")
                root.complain(f"a unix socket has no port for {server.name!r}, which has none of its own", at)


def _place(bind: Address) -> str:
    """Return the address in a canonical form, for comparison."""
    if bind.is_unix:
        return f"unix:{bind.path}"
    host = bind.host.lower()
    if not bind.is_name and host:
        host = ipaddress.ip_address(host).compressed
    return f"[{host}]:{bind.port}"


LISTENER_TABLE_KEYS: Keys = {
    **LISTENER_KEYS,
    "bind": one_or_list(_each_port, least=1),
    "tls": LISTENER_TLS_TABLE,
    "accept_proxy": {
        "type": ["boolean", "array", "object"],
        "items": shape_of(network),
        "minItems": 1,
        **{
            key: value
            for key, value in table_of(
                {"from": list_of(network, least=1), "others": _others}, required=["from"]
            ).items()
            if key != "type"
        },
    },
    "bandwidth": {
        **table_of(dict.fromkeys(("connection", "source", "listener"), _RATE)),
        **shape_of(_RATE),
        "type": ["string", "integer", "object"],
    },
    "allow": list_of(network),
    "deny": list_of(network),
}
"""The keys of every mode. ``servers`` and ``mode`` depend on plug-ins."""
