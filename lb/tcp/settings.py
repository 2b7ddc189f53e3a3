"""The listener keys of mode ``tcp``: the pool, timeouts, SNI routing."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lb.model import PoolSpec, TcpSettings
from lb.model.modes import complain_of_no_pool
from lb.model.shape import NOWHERE, Shape, shape_of, table_of, when
from lb.model.table import Table
from lb.model.values import Reader, duration_or_never, share, text

__all__ = ["TCP_TABLE", "read_settings"]

TCP_KEYS: Mapping[str, Reader[object]] = {
    "idle_timeout": duration_or_never,
    "half_close_timeout": duration_or_never,
    "explain_sample": share,
}
_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def read_settings(listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> TcpSettings:
    """Read the settings of one listener. Errors are reported to ``table``."""
    pool = _pool_of(listener, table, pools)
    sni = _sni(table, pool, pools)
    return TcpSettings(pool, sni=sni, no_tls=_pool_in_sni("no_tls", table) or "", **table.values(TCP_KEYS))


def _pool_of(listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> str:
    """Return the listener's pool: ``pool``, or the pool with the listener's name, which ``servers`` may define.

    With ``sni``, its ``default`` may name the pool instead.
    """
    default = _pool_in_sni("default", table)
    if default is not None:
        for key in ("pool", "servers"):
            if table.has(key):
                table.complain(f"'sni' has a 'default'; use only one of 'default' and {key!r}", table.at(key))
        return default or listener
    if not table.has("pool"):
        if listener not in pools and not table.has("servers"):
            table.complain(f"needs a 'pool' or 'servers': there is no pool named {listener!r}")
        return listener
    pool = table.value("pool", text)
    if table.has("servers"):
        table.complain("has both 'pool' and 'servers'; use only one of them")
    elif pool is not None and pool not in pools:
        complain_of_no_pool(table, "pool", pool, pools)
    return pool or listener


def _pool_in_sni(key: str, listener: Table) -> str | None:
    """Return the unchecked pool that a key of ``sni`` names; None if absent, "" if it is no text.

    It is checked with the other names.
    """
    sni = listener.content.get("sni")
    found = sni.get(key) if isinstance(sni, dict) else None
    return found if found is None or isinstance(found, str) else ""


def _sni(listener: Table, pool: str, pools: Mapping[str, PoolSpec]) -> tuple[tuple[str, str], ...] | None:
    """Return names and wildcards in lower case, each with its pool; None without an ``sni`` table.

    ``pool`` is the listener's pool, for all other names.
    """
    if not listener.has("sni"):
        return None
    table = listener.table("sni")
    if listener.has("tls"):
        table.complain("'sni' and 'tls' exclude each other: 'sni' passes TLS through without decrypting it")
    routes: dict[str, str] = {}
    if not table.has("default"):
        _check_pool(pool, pools, table, listener.at("pool"))
    for key in table.content:
        chosen = _chosen_pool(key, pools, table)
        if chosen is None or key in ("default", "no_tls"):
            continue
        name = key.lower().removesuffix(".")
        if not _NAME.fullmatch(name):
            table.complain("must be a name like 'www.example.org' or '*.example.org', or 'default'", table.at(key))
        elif name in routes:
            table.complain(f"duplicate of {name!r}; names are not case-sensitive", table.at(key))
        routes.setdefault(name, chosen)
    table.finish()
    return tuple(routes.items())


def _chosen_pool(key: str, pools: Mapping[str, PoolSpec], table: Table) -> str | None:
    """Return the pool of a key of ``sni``."""
    chosen = table.value(key, text)
    if chosen is not None and chosen not in pools:
        complain_of_no_pool(table, key, chosen, pools)
    elif chosen is not None and key != "no_tls":
        _check_pool(chosen, pools, table, table.at(key))
    return chosen


def _check_pool(pool: str, pools: Mapping[str, PoolSpec], table: Table, path: str) -> None:
    if pool in pools and pools[pool].tls is not None:
        table.complain(f"the pool {pool!r} has 'tls', but 'sni' passes through traffic that is already encrypted", path)


_SNI_TABLE: Shape = {
    "type": "object",
    "additionalProperties": shape_of(text),
    "propertyNames": {"pattern": rf"^(?:no_tls|{_NAME.pattern.replace('a-z', 'A-Za-z')}\.?)$"},
}
TCP_TABLE = table_of(
    {"pool": text, "servers": {}, **TCP_KEYS, "sni": _SNI_TABLE},
    rules=[
        {"not": {"required": ["pool", "servers"]}},
        {"not": {"required": ["sni", "tls"]}},
        when(
            {"properties": {"sni": {"required": ["default"]}}, "required": ["sni"]},
            {"properties": {"pool": NOWHERE, "servers": NOWHERE}},
        ),
    ],
)
