"""The whole schema of lb.toml."""

from __future__ import annotations

from lb import __version__
from lb.config.announce import ANNOUNCE_TABLE
from lb.config.caches import CACHE_TABLE
from lb.config.cluster import CLUSTER_TABLE
from lb.config.listeners import LISTENER_TABLE_KEYS
from lb.config.load import ADMIN_TABLE, LOG_TABLE, PROCESS_TABLE
from lb.config.media import MEDIA_TABLE
from lb.config.users import USERS_TABLE
from lb.model import modes
from lb.model.shape import Shape, given, table_of, tables_of, when
from lb.model.values import name
from lb.tools.schema.kinds import kind_name, of_kinds
from lb.tools.schema.pools import SERVERS_TABLE, pool_table
from lb.tools.schema.sentences import described

__all__ = ["schema"]

_DIALECT = "http://json-schema.org/draft-07/schema#"


def schema() -> Shape:
    """Return the JSON Schema of lb.toml, with a sentence of the reference for each key.

    It knows the strategies, probes and modes that are installed. Raises LookupError for a key without a sentence, and
    for a reader of the loader that does not say what it takes.
    """
    root = table_of(
        {
            "process": PROCESS_TABLE,
            "log": LOG_TABLE,
            "admin": ADMIN_TABLE,
            "announce": ANNOUNCE_TABLE,
            "cluster": CLUSTER_TABLE,
            "listeners": {**tables_of(_listener_table(), name), "minProperties": 1},
            "pools": tables_of(pool_table(), name),
            "users": tables_of(USERS_TABLE, name),
            "caches": tables_of(CACHE_TABLE, name),
            "media": MEDIA_TABLE,
        },
        required=["listeners"],
        rules=[when(given(cluster={}), {"required": ["admin"]})],
    )
    return {
        "$schema": _DIALECT,
        "$id": f"urn:trio-lb:lb.toml:{__version__}",
        "title": f"lb.toml, the configuration of trio-lb {__version__}",
        **described(root),
    }


def _listener_table() -> Shape:
    names = modes.names()
    keys = {**LISTENER_TABLE_KEYS, "servers": SERVERS_TABLE, "mode": kind_name(names)}
    common = table_of(keys, required=["bind"])
    return of_kinds("mode", "tcp", common, {each: modes.load(each).table() for each in names})
