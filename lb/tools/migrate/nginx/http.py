"""The block ``http``: its servers as listeners, by the addresses that they share."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.caching import cache_zones
from lb.tools.migrate.nginx.listener_settings import fill_access, fill_listener
from lb.tools.migrate.nginx.listens import Group, groups_of, merged
from lb.tools.migrate.nginx.pools import PoolDrafts
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.server_routes import FileFacts, ServerRoutes
from lb.tools.migrate.nginx.tls import fill_listener_tls

__all__ = ["translate_http"]

_NAME = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:]+\]")


def translate_http(http: Scope, draft: Draft, directory: Path, media: Mapping[str, str]) -> None:
    """Add the listeners, pools and caches of the block. ``media`` has applications by their directories."""
    http.migration.translated(http.block)
    zones = cache_zones(http, draft)
    pools = PoolDrafts(http, draft)
    servers = []
    for each in http.own("server"):
        names = [name for directive in each.below("server_name") for name in directive.args]
        named = next(filter(_NAME.fullmatch, names), None)
        servers.append(http.inside(each, **({} if named in (None, "_") else {"server_name": named})))
    for group in groups_of(servers):
        _listener(group, draft, pools, FileFacts(zones, media, directory))
    _conditional_maps(http)
    pools.finish()


def _listener(group: Group, draft: Draft, pools: PoolDrafts, known: FileFacts) -> None:
    has_tls = group.has("ssl") or any(each.is_on("ssl") for each in group.servers)
    listener = draft.listener(_name(group, draft, pools, has_tls=has_tls))
    listener["mode"] = "http"
    listener["bind"] = merged(group.addresses)
    for each in group.listens:
        if each.directive is not None:
            _listen(group, each.directive, listener, has_tls=has_tls)
    if has_tls:
        fill_listener_tls(listener, group.servers, known.directory)
    for server in group.servers:
        server.migration.place(server.block, listener)
        server.migration.translated(server.block)
        _http2(listener, server, has_tls=has_tls)
    facts = {"https": "on" if has_tls else "", "server_port": group.port}
    servers = [attrs.evolve(each, facts={**each.facts, **facts}) for each in group.servers]
    judged = fill_access(listener, servers)
    places: list[Scope] = []
    for made in _routes(listener, servers, judged, draft, pools, known):
        made.make()
        places += made.places or [made.scope]
    if not listener.rows("routes"):
        listener.add("routes").update({"respond": "", "status": 404})
    fill_listener(listener, group, places)


def _routes(
    listener: DraftTable, servers: Sequence[Scope], judged: frozenset[Directive], draft: Draft, pools: PoolDrafts,
    known: FileFacts,
) -> Iterator[ServerRoutes]:  # fmt: skip
    """Yield the servers that get requests: the first one, and each that has hosts of its own."""
    hosts = [_hosts(each) for each in servers]
    named: set[str] = set()
    for number, server in enumerate(servers):
        own = [each for each in hosts[number] if each not in named]
        named.update(own)
        if not own and number:
            server.migration.gap(server.block, "routes have hosts: this server's are left out")
            continue
        yield ServerRoutes(
            scope=server,
            listener=listener,
            hosts=own if number else [],
            is_default=not number,
            others=frozenset(host for other, found in enumerate(hosts) for host in found if other != number),
            is_alone=len(servers) == 1,
            draft=draft,
            pools=pools,
            known=known,
            judged=judged,
        )


def _name(group: Group, draft: Draft, pools: PoolDrafts, *, has_tls: bool) -> str:
    """Return a name: by the protocol, with the port if it is not the usual one. A pool of this name would serve all."""
    base = "https" if has_tls else "http"
    wanted = base if group.port == ("443" if has_tls else "80") else f"{base}-{group.port or 'unix'}"
    names = (wanted if number == 1 else f"{wanted}-{number}" for number in itertools.count(1))
    listeners = draft.table("listeners").below
    return next(each for each in names if each not in listeners and pools.upstream(each) is None)


def _listen(group: Group, directive: Directive, listener: DraftTable, *, has_tls: bool) -> None:
    """Say what becomes of one ``listen``."""
    migration = group.servers[0].migration
    migration.translated(directive)
    if "quic" in directive.args:
        migration.gap(directive, "HTTP/3 is not spoken: HTTP/2 over TLS is")
    if not has_tls and "http2" in directive.args:
        listener["h2c"] = True


def _http2(listener: DraftTable, server: Scope, *, has_tls: bool) -> None:
    """Fill whether clients may speak HTTP/2 without TLS; with TLS they may anyway."""
    directive = server.last("http2")
    if directive is None:
        return
    if has_tls or directive.args[0] == "off":
        server.migration.not_needed(directive, "clients that offer HTTP/2 over TLS get it")
    else:
        listener["h2c"] = True
        server.migration.translated(directive)


def _conditional_maps(http: Scope) -> None:
    """Say of the map for WebSocket that nobody needs it."""
    for each in http.own("map"):
        if each.args[:1] == ("$http_upgrade",):
            http.migration.all_not_needed(each, "upgrades pass by themselves")
        else:
            for inner in each.block or ():
                http.migration.not_needed(inner, "a part of the `map` around it")
            if not http.migration.knows(each):
                http.migration.gap(each, "routes choose by host, path and method")


def _hosts(server: Scope) -> list[str]:
    """Return the hosts of a server, as routes have them."""
    found: list[str] = []
    for directive in server.own("server_name"):
        unknown = []
        for given in directive.args:
            name = given.lower()
            if name.startswith(".") and _NAME.fullmatch(name[1:]):
                found += [name[1:], f"*{name}"]
            elif name in ("_", "", '""', "$hostname"):
                continue
            elif _NAME.fullmatch(name):
                found.append(name)
            else:
                unknown.append(given)
        server.migration.translated(directive)
        if unknown:
            server.migration.gap(directive, f"{' '.join(unknown)}: hosts are names, or wildcards such as *.example.com")
    return [*dict.fromkeys(found)]
