"""The listener keys of mode ``http``: the pool, limits, trusted proxies, routes."""

from __future__ import annotations

from collections.abc import Mapping

from lb.http.route_settings import read_routes, route_table
from lb.model import HttpSettings
from lb.model.address import Networks
from lb.model.modes import References, complain_of_no_pool
from lb.model.shape import NOWHERE, Shape, given, list_of, shape_of, shaped, table_of, when
from lb.model.table import Table
from lb.model.values import (
    Reader,
    boolean,
    byte_size,
    duration,
    duration_or_never,
    network,
    text,
    whole_number,
)

__all__ = ["CLIENT_KEYS", "http_table", "read_settings"]

_SMALLEST_HEADER, _LARGEST_HEADER = 1024, 1 << 20
"""Bytes. A browser's request has about 1 KiB; each connection may hold as much memory as the limit says."""
_LARGEST_BODY = 10**15 - 1
"""A Content-Length has at most 15 digits."""


@shaped(shape_of(byte_size(_SMALLEST_HEADER, _LARGEST_HEADER)))
def _header_size(value: object) -> int:
    """Read the limit of a head."""
    return whole_number(_SMALLEST_HEADER, _LARGEST_HEADER)(byte_size()(value))


CLIENT_KEYS: Mapping[str, Reader[object]] = {
    "keep_alive": duration,
    "idle_timeout": duration_or_never,
    "max_header": _header_size,
    "max_body": byte_size(most=_LARGEST_BODY),
    "access_log": boolean,
}
"""The keys that speak of clients' connections and requests."""


def read_settings(listener: str, table: Table, references: References) -> HttpSettings:
    """Read the settings of one listener. Errors are reported to ``table``."""
    pool = _pool_of(listener, table, references)
    routes = read_routes(table, references)
    if not (pool or routes or table.content.get("routes")):
        table.complain("needs a 'pool', 'servers' or 'routes'")
    h2c = table.value("h2c", boolean) or False
    if h2c and table.has("tls"):
        table.complain("has no effect with tls: HTTP/2 is offered there by ALPN", table.at("h2c"))
    return HttpSettings(pool, routes, trusted_proxies=_trusted_proxies(table), h2c=h2c, **table.values(CLIENT_KEYS))


def _pool_of(listener: str, table: Table, references: References) -> str:
    """Return the pool of requests that no route takes; empty if there is none.

    It is ``pool``, or the pool with the listener's name, which ``servers`` may define.
    """
    if not table.has("pool"):
        return listener if listener in references.pools or table.has("servers") else ""
    pool = table.value("pool", text)
    if table.has("servers"):
        table.complain("has both 'pool' and 'servers'; use only one of them")
    elif pool is not None and pool not in references.pools:
        complain_of_no_pool(table, "pool", pool, references.pools)
    return pool or listener


def _trusted_proxies(table: Table) -> Networks:
    found = (table.convert(value, network, path) for path, value in table.items("trusted_proxies"))
    return Networks(tuple(each for each in found if each))


def http_table() -> Shape:
    """Return the shape of what a listener of this mode has beside the keys of every mode."""
    return table_of(
        {
            "pool": text,
            "servers": {},
            "routes": list_of(route_table()),
            "trusted_proxies": list_of(network),
            "h2c": boolean,
            **CLIENT_KEYS,
        },
        rules=[
            {"not": {"required": ["pool", "servers"]}},
            when(given(h2c={"const": True}, tls={}), {"properties": {"h2c": NOWHERE}}),
        ],
    )
