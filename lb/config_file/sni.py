"""Routing by the name that TLS clients ask for, in the configuration file: ``[listeners.<name>.sni]``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lb.config_file.table import Table
from lb.config_file.values import did_you_mean, shown, text
from lb.model import PoolSpec

__all__ = ["default_pool", "read_sni"]

_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def default_pool(listener: Table) -> object:
    """``default`` as it is written, which is looked at by whoever wants to know the listener's pool; None if absent."""
    sni = listener.content.get("sni")
    return sni.get("default") if isinstance(sni, dict) else None


def read_sni(listener: Table, pool: str, pools: Mapping[str, PoolSpec]) -> tuple[tuple[str, str], ...] | None:
    """Names and wildcards in lower case, with the pool of each; None if there is no such table.

    ``pool`` is the listener's, for all others.
    """
    if not listener.has("sni"):
        return None
    table = listener.table("sni")
    if listener.has("tls"):
        table.complain("what is passed through is not decrypted: 'sni' and 'tls' exclude each other")
    routes: dict[str, str] = {}
    if not table.has("default"):
        _check_pool(pool, pools, table, listener.at("pool"))
    for key in table.content:
        chosen = table.value(key, text)
        if chosen is None:
            continue
        if chosen not in pools:
            table.complain(f"there is no pool {shown(chosen)}{did_you_mean(chosen, pools)}", table.at(key))
        _check_pool(chosen, pools, table, table.at(key))
        if key == "default":
            continue
        name = key.lower().removesuffix(".")
        if not _NAME.fullmatch(name):
            table.complain("must be a name like 'www.example.org' or '*.example.org', or 'default'", table.at(key))
        elif name in routes:
            table.complain(f"there is {name!r} already, and case does not matter", table.at(key))
        routes.setdefault(name, chosen)
    table.finish()
    return tuple(routes.items())


def _check_pool(pool: str, pools: Mapping[str, PoolSpec], table: Table, path: str) -> None:
    if pool in pools and pools[pool].tls is not None:
        table.complain(f"the pool {pool!r} has 'tls', and what is passed through is encrypted already", path)
