"""Listeners of the configuration file: where they listen, whom they serve."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path

from lb.address import Address
from lb.config_file.pools import read_servers
from lb.config_file.sni import default_pool, read_sni
from lb.config_file.table import Table, join
from lb.config_file.tls import read_listener_tls
from lb.config_file.values import (
    Reader,
    address,
    did_you_mean,
    duration_above_zero,
    duration_or_never,
    name,
    network,
    share,
    shown,
    text,
    whole_number,
)
from lb.model import ListenerSpec, PoolSpec
from lb.networks import Networks

__all__ = ["check_binds", "pools_of_listeners", "read_listener"]

_LISTENER: Mapping[str, Reader[object]] = {
    "idle_timeout": duration_or_never,
    "half_close_timeout": duration_or_never,
    "max_connections": whole_number(),
    "backlog": whole_number(least=1),
    "header_timeout": duration_above_zero,
    "max_per_source": whole_number(),
    "rate_per_source": whole_number(),
    "explain_sample": share,
}


def pools_of_listeners(listeners: Mapping[str, Table], pools: Mapping[str, PoolSpec]) -> dict[str, PoolSpec]:
    """The pools that listeners spell out as ``servers``."""
    made = {}
    for listener, table in listeners.items():
        if not table.has("servers"):
            continue
        if listener in pools:
            table.complain(f"the pool {listener!r} is configured as well, list them there", table.at("servers"))
        else:
            servers, dns = read_servers(table)
            made[listener] = PoolSpec(listener, servers, dns=dns)
    return made


def read_listener(listener: str, table: Table, pools: Mapping[str, PoolSpec], directory: Path) -> ListenerSpec:
    """The table ``[listeners.<listener>]``. Paths are relative to ``directory``."""
    table.convert(listener, name, table.path)
    binds = _binds(table)
    pool = _pool_of(listener, table, pools)
    sni = read_sni(table, pool, pools)
    tls = read_listener_tls(table, directory)
    values = table.values(_LISTENER)
    accept_proxy = _accept_proxy(table)
    allow, deny = _networks("allow", table), _networks("deny", table)
    table.finish()
    return ListenerSpec(
        listener, binds, pool, accept_proxy=accept_proxy, allow=allow, deny=deny, tls=tls, sni=sni, **values
    )


def _pool_of(listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> str:
    """Whom the listener serves: ``pool``, or the pool of its own name, spelt out as ``servers`` or not.

    With ``sni``, its ``default`` may say it instead.
    """
    default = default_pool(table)
    if default is not None:
        for key in ("pool", "servers"):
            if table.has(key):
                table.complain("'sni' has a 'default', one of them must go", table.at(key))
        return default if isinstance(default, str) else listener
    if not table.has("pool"):
        if listener not in pools and not table.has("servers"):
            table.complain(f"needs a 'pool' or 'servers': there is no pool of its own name, {listener!r}")
        return listener
    pool = table.value("pool", text)
    if table.has("servers"):
        table.complain("has both 'pool' and 'servers', one of them must go")
    elif pool is not None and pool not in pools:
        table.complain(f"there is no pool {shown(pool)}{did_you_mean(pool, pools)}", table.at("pool"))
    return pool or listener


def _binds(table: Table) -> tuple[Address, ...]:
    """``bind``, one address or a list of them."""
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
    """``true`` or ``false``, or the networks of the proxies, of which there must be one: else nobody could connect."""
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
    """A list of networks; an empty one if the key is absent."""
    found = (table.convert(value, network, path) for path, value in table.items(key))
    return Networks(tuple(each for each in found if each))


def check_binds(listeners: Iterable[ListenerSpec], root: Table) -> None:
    """No address twice. Port 0 is another port for each listener, but one listener must tell its own binds apart."""
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
    """The address in one spelling, to compare."""
    if bind.is_unix:
        return bind.text
    host = bind.host.lower()
    if not bind.is_name and host:
        host = ipaddress.ip_address(host).compressed
    return f"[{host}]:{bind.port}"
