"""Listeners of the configuration file: where they listen, whom they serve."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from lb.address import Address
from lb.config_pools import read_servers
from lb.config_table import Table, join
from lb.config_values import (
    Reader,
    address,
    did_you_mean,
    duration_above_zero,
    duration_or_never,
    name,
    shown,
    text,
    whole_number,
)
from lb.model import ListenerSpec, PoolSpec

__all__ = ["check_binds", "pools_of_listeners", "read_listener"]

_LISTENER: Mapping[str, Reader[object]] = {
    "idle_timeout": duration_or_never,
    "half_close_timeout": duration_or_never,
    "max_connections": whole_number(),
    "backlog": whole_number(least=1),
    "header_timeout": duration_above_zero,
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
            made[listener] = PoolSpec(listener, read_servers(table))
    return made


def read_listener(listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> ListenerSpec:
    table.convert(listener, name, table.path)
    binds = _binds(table)
    pool = _pool_of(listener, table, pools)
    values = table.values(_LISTENER)
    table.finish()
    return ListenerSpec(listener, binds, pool, **values)


def _pool_of(listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> str:
    """Whom the listener serves: ``pool``, or the pool of its own name, spelt out as ``servers`` or not."""
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
