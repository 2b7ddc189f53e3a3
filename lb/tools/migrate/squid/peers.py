"""``cache_peer`` as a pool of parents."""

from __future__ import annotations

from lb.tools.migrate.amounts import seconds_as_text
from lb.tools.migrate.draft import Draft, DraftTable, DraftValue
from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.squid.units import squid_seconds

__all__ = ["fill_parents"]

_NAME = "parents"
_STRATEGIES: dict[str, DraftValue] = {
    "round-robin": "round-robin",
    "weighted-round-robin": "weighted",
    "sourcehash": "consistent-hash",
    "userhash": "consistent-hash",
    "carp": {"name": "consistent-hash", "key": "uri"},
    "default": "first",
}
_ADDRESS = 4
"""Words before the options: host, type, port of HTTP, port of ICP."""


def fill_parents(root: Directive, migration: Migration, draft: Draft, listener: DraftTable) -> None:
    """Write the parents, and that all connections go through them."""
    peers = [each for each in root.below("cache_peer") if _is_parent(each, migration)]
    direct = root.below("never_direct")
    if not peers:
        return
    pool = draft.pool(_NAME)
    for each in peers:
        migration.translated(each)
        pool.extend("servers", _server(each))
        if "tls" in each.args or "ssl" in each.args:
            pool["tls"] = True
        _login(pool, each, migration)
    pool["strategy"] = next((_STRATEGIES[word] for each in peers for word in each.args if word in _STRATEGIES), "first")
    pool["connect_timeout"] = _timeout(root, migration)
    listener["parents"] = _NAME
    source = listener.keys.pop("source_address", None)
    if source is not None:
        pool["source"] = source
    if any(each.args[:2] in (("allow", "all"), ("allow",)) for each in direct):
        for each in direct:
            migration.translated(each)
    else:
        migration.translated(peers[0], note="all connections go through parents; there is no way around them")


def _is_parent(peer: Directive, migration: Migration) -> bool:
    if "originserver" in peer.args:
        migration.gap(peer, 'a pool of servers and a listener of mode `"http"`')
        return False
    if len(peer.args) < _ADDRESS or peer.args[1] != "parent":
        migration.gap(peer, "siblings are not asked: edges with `consistent-hash` share what they store")
        return False
    return True


def _server(peer: Directive) -> DraftValue:
    address = f"{peer.args[0]}:{peer.args[2]}"
    options = dict(word.partition("=")[::2] for word in peer.args[_ADDRESS:])
    found: dict[str, DraftValue] = {"name": options["name"]} if "name" in options else {}
    found["address"] = address
    if "weight" in options:
        found["weight"] = int(options["weight"])
    if "max-conn" in options:
        found["max_connections"] = int(options["max-conn"])
    return found if len(found) > 1 else address


def _login(pool: DraftTable, peer: Directive, migration: Migration) -> None:
    login = peer.option("login")
    if login == "(hidden)":
        pool.table("proxy").update({"user": "USER", "password_file": "parents.password"})
        migration.gap(peer, "write the name into `user` and the password into the file parents.password")
    elif login:
        migration.gap(peer, "a login of the proxy's own; those of clients are not passed on")


def _timeout(root: Directive, migration: Migration) -> str:
    found = root.below("peer_connect_timeout")
    for each in found:
        migration.translated(each, "pools.NAME.connect_timeout")
    return seconds_as_text(squid_seconds(" ".join(found[-1].args) if found else "30 seconds"))
