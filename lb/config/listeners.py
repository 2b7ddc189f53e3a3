"""Read listeners from the configuration file: addresses, conditions for clients, pools."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path

from lb.config.pools import read_servers
from lb.config.tls import read_listener_tls
from lb.model import ListenerSpec, ModeSettings, PoolSpec, TcpSettings, modes
from lb.model.address import Address, Networks
from lb.model.table import Table, join
from lb.model.values import (
    Reader,
    address,
    duration_above_zero,
    name,
    network,
    shown,
    text,
    whole_number,
)

__all__ = ["check_binds", "pools_of_listeners", "read_listener"]

_LISTENER: Mapping[str, Reader[object]] = {
    "max_connections": whole_number(),
    "backlog": whole_number(least=1),
    "header_timeout": duration_above_zero,
    "max_per_source": whole_number(),
    "rate_per_source": whole_number(),
}


def pools_of_listeners(listeners: Mapping[str, Table], pools: Mapping[str, PoolSpec]) -> dict[str, PoolSpec]:
    """Return the pools that listeners define inline as ``servers``."""
    made = {}
    for listener, table in listeners.items():
        if not table.has("servers"):
            continue
        if listener in pools:
            table.complain(f"the pool {listener!r} is configured too; list the servers there", table.at("servers"))
        else:
            servers, dns = read_servers(table)
            made[listener] = PoolSpec(listener, servers, dns=dns)
    return made


def read_listener(listener: str, table: Table, pools: Mapping[str, PoolSpec], directory: Path) -> ListenerSpec:
    """Read the table ``[listeners.<listener>]``. Paths are relative to ``directory``."""
    table.convert(listener, name, table.path)
    binds = _binds(table)
    mode, settings = _mode(listener, table, pools)
    tls = read_listener_tls(table, directory)
    values = table.values(_LISTENER)
    accept_proxy = _accept_proxy(table)
    allow, deny = _networks("allow", table), _networks("deny", table)
    if settings is not None:  # without a mode, the keys of the mode have not been read
        table.finish()
    return ListenerSpec(
        listener,
        binds,
        settings or TcpSettings(listener),
        mode,
        accept_proxy=accept_proxy,
        allow=allow,
        deny=deny,
        tls=tls,
        **values,
    )


def _mode(listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> tuple[str, ModeSettings | None]:
    """Return the mode's name and settings. For an unknown mode, add an error and return None as settings."""
    mode = table.value("mode", text) or "tcp"
    try:
        return mode, modes.load(mode).read_settings(listener, table, pools)
    except ValueError as error:
        table.complain(str(error), table.at("mode"))
        return mode, None


def _binds(table: Table) -> tuple[Address, ...]:
    """Read ``bind``: one address or a list of addresses."""
    if not table.has("bind"):
        table.complain('missing, as in bind = "127.0.0.1:8080"', table.at("bind"))
        return ()
    given = table.content["bind"]
    if given == []:
        table.complain("must name at least one address", table.at("bind"))
    places = table.items("bind") if isinstance(given, list) else [(table.at("bind"), given)]
    found = (table.convert(value, address, path) for path, value in places)
    return tuple(bind for bind in found if bind)


def _accept_proxy(table: Table) -> bool | Networks:
    """Read ``accept_proxy``: a boolean or the networks of the proxies. An empty list would refuse all clients."""
    if not table.has("accept_proxy"):
        return False
    given, at = table.content["accept_proxy"], table.at("accept_proxy")
    if isinstance(given, list):
        if not given:
            table.complain("must name at least one network, or be true or false", at)
        return _networks("accept_proxy", table)
    if not isinstance(given, bool):
        table.complain(f"must be true, false or a list of networks, not {shown(given)}", at)
    return given is True


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


def _place(bind: Address) -> str:
    """Return the address in a canonical form, for comparison."""
    if bind.is_unix:
        return bind.text
    host = bind.host.lower()
    if not bind.is_name and host:
        host = ipaddress.ip_address(host).compressed
    return f"[{host}]:{bind.port}"
