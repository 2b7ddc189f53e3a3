"""Upstreams, and servers that are named where they are used, as pools."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import attrs

from lb.tools.migrate.draft import Draft, DraftTable, DraftValue
from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.units import as_duration, time_in_seconds
from lb.tools.migrate.nginx.variables import hash_key_of

__all__ = ["PoolDrafts", "fill_tries_and_source", "with_port"]

_RANDOM = "two servers are drawn at random, and the one with fewer connections is chosen"
_OF_ALL_SERVERS: Sequence[tuple[str, tuple[str, ...], str]] = (
    ("max_fails", ("passive",), "failures"),
    ("fail_timeout", ("passive",), "eject_for"),
    ("slow_start", (), "slow_start"),
)
"""Options of servers that are one of a whole pool here, with the table and the key below it."""


def with_port(address: str, port: int) -> str:
    """Return a server's address as lb.toml has it. ``port`` is that of addresses without one."""
    if address.startswith("unix:"):
        return address.removesuffix(":")
    return address if re.search(r"(^|[^:\]])(:[0-9]+)$|\]:[0-9]+$", address) else f"{address}:{port}"


@attrs.define
class PoolDrafts:
    """The pools of ``http`` or of ``stream``, made when something uses them."""

    scope: Scope
    """That of the block."""
    draft: Draft
    _names: dict[tuple[str, str], str] = attrs.field(factory=dict)
    """By address or upstream, and by kind: servers of one upstream may be asked in clear, with TLS, or by HTTP/2."""

    @property
    def migration(self) -> Migration:
        return self.scope.migration

    def upstream(self, name: str) -> Directive | None:
        """Return the block of an upstream; None if there is none of this name."""
        return next((each for each in self.scope.own("upstream") if each.args[:1] == (name,)), None)

    def use(self, target: str, *, kind: str, hint: str, port: int) -> tuple[str, DraftTable]:
        """Return the pool for an upstream or an address, with its name.

        ``kind`` tells pools of the same servers apart: ``""``, ``"tls"`` and so on. ``hint`` is a name for servers
        without an upstream.
        """
        known = self._names.get((target, kind))
        if known is not None:
            return known, self.draft.pool(known)
        block = self.upstream(target)
        wanted = target if block is not None else hint
        if any(each == target for each, _ in self._names) and kind:
            wanted = f"{wanted}-{kind}"
        name = self._free(wanted)
        self._names[target, kind] = name
        table = self.draft.pool(name)
        if block is None:
            table["servers"] = [with_port(target, port)]
        else:
            self.migration.place(block, table)
            self.migration.translated(block)
            _fill(table, self.scope.inside(block))
        return name, table

    def _free(self, wanted: str) -> str:
        taken = self.draft.table("pools")
        upstreams = {each.args[0] for each in self.scope.own("upstream") if each.args} - {wanted}
        number, name = 1, wanted
        while name in taken.below or name in upstreams:
            number += 1
            name = f"{wanted}-{number}"
        return name

    def finish(self) -> None:
        """Say of each upstream that nothing uses that it is not needed."""
        used = {target for target, _ in self._names}
        for each in self.scope.own("upstream"):
            if each.args and each.args[0] not in used:
                self.migration.all_not_needed(each, "nothing uses this upstream")


def fill_tries_and_source(pool: DraftTable, scope: Scope, prefix: str) -> None:
    """Fill how many servers are tried, and the address that they see, as it is said where a pool is used."""
    tries = scope.take(f"{prefix}_next_upstream_tries")
    if tries is not None and tries != "0":
        pool["retries"] = int(tries) - 1
    source = scope.last(f"{prefix}_bind")
    if source is not None and (len(source.args) > 1 or "$" in source.args[0]):
        scope.migration.gap(source, "`source` of a pool is an address of this host")
    elif source is not None and scope.take(f"{prefix}_bind") != "off":
        pool["source"] = source.args[0]


def _fill(pool: DraftTable, scope: Scope) -> None:
    """Fill a pool with what a block ``upstream`` says."""
    _strategy(pool, scope)
    servers = scope.own("server")
    pool["servers"] = _named([_server(each, scope.migration) for each in servers])
    _passive(pool, scope.migration, servers)
    keep = scope.take("keepalive")
    if keep is not None:
        pool.table("http")["keep_alive"] = min(int(keep), 10_000)
    if scope.own("keepalive_timeout"):
        kept = scope.read("keepalive_timeout", as_duration)
        if kept is not None:
            scope.migration.translated(scope.own("keepalive_timeout")[0], "pools.NAME.http.keep_alive_timeout")
            pool.table("http")["keep_alive_timeout"] = kept
    for each in scope.own("queue"):
        pool["queue"] = int(each.args[0])
        pool["queue_timeout"] = as_duration(each.option("timeout", "60s"))
        scope.migration.translated(each)


def _server(directive: Directive, migration: Migration) -> DraftValue:
    """Return a server: its address, or a table if it says more."""
    address = with_port(directive.args[0], 80)
    found: dict[str, DraftValue] = {"address": address}
    unknown = []
    for word in directive.args[1:]:
        key, _, value = word.partition("=")
        match key:
            case "weight":
                found["weight"] = min(int(value), 65_535)
            case "max_conns":
                if value != "0":
                    found["max_connections"] = int(value)
            case "backup":
                found["backup"] = True
            case "down":
                found["weight"] = 0
            case "max_fails" | "fail_timeout" | "slow_start" | "resolve":
                pass
            case _:
                unknown.append(word)
    migration.translated(directive, "pools.NAME.servers")
    if unknown:
        migration.gap(directive, f"{' '.join(unknown)} is not known here; `sticky` of the pool keeps clients")
    return found if len(found) > 1 else address


def _named(servers: Sequence[DraftValue]) -> list[DraftValue]:
    """Give a server that is there twice a name: it is known by its address otherwise."""
    found: list[DraftValue] = []
    seen: Counter[str] = Counter()
    for each in servers:
        address = str(each["address"] if isinstance(each, dict) else each)
        seen[address] += 1
        more = each if isinstance(each, dict) else {"address": address}
        found.append(each if seen[address] == 1 else {"name": f"{address} {seen[address]}".replace("/", "-"), **more})
    return found


def _passive(pool: DraftTable, migration: Migration, servers: Sequence[Directive]) -> None:
    """Set what is one of all servers of a pool here: how many failures eject a server, and for how long."""
    for option, path, key in _OF_ALL_SERVERS:
        given = {each: text for each in servers if (text := each.option(option))}
        if not given:
            continue
        value = Counter(given.values()).most_common(1)[0][0]
        if option == "fail_timeout" and not time_in_seconds(value):
            continue
        pool.table(*path)[key] = int(value) if option == "max_fails" else as_duration(value)
        for each, other in given.items():
            if other != value:
                migration.gap(each, f"{option} is one for all servers of a pool here, {value}")


def _strategy(pool: DraftTable, scope: Scope) -> None:
    for each in scope.block.block or ():
        match each.name:
            case "least_conn":
                pool["strategy"] = "least-conn"
                scope.migration.translated(each)
            case "ip_hash":
                pool["strategy"] = "consistent-hash"
                scope.migration.translated(
                    each, note="the whole address is hashed, of IPv4 too; clients change servers once"
                )
            case "hash":
                _hash(pool, each, scope.migration)
            case "random":
                pool["strategy"] = "random-two"
                two = each.args[:1] == ("two",)
                scope.migration.translated(each, note="" if two else _RANDOM)
            case "sticky":
                _sticky(pool, each, scope.migration)
            case _:
                pass


def _hash(pool: DraftTable, directive: Directive, migration: Migration) -> None:
    key = hash_key_of(directive.args[0])
    if key is None:
        migration.gap(directive, "keys are source-ip, uri, path, host, header:NAME, cookie:NAME, query:NAME")
        return
    strategy: dict[str, DraftValue] = {"name": "consistent-hash"}
    if key != "source-ip":
        strategy["key"] = key
    consistent = "consistent" in directive.args
    if consistent:
        strategy["table"] = "ketama"
    pool["strategy"] = strategy if len(strategy) > 1 else "consistent-hash"
    migration.translated(
        directive, note="" if consistent else "the same key gets the same server, but other ones than before"
    )


def _sticky(pool: DraftTable, directive: Directive, migration: Migration) -> None:
    if directive.args[:1] == ("cookie",) and len(directive.args) > 1:
        pool["sticky"] = {"cookie": directive.args[1]}
        migration.translated(directive)
    else:
        migration.gap(directive, '`sticky = { cookie = "NAME" }` keeps clients by a cookie of the balancer')
