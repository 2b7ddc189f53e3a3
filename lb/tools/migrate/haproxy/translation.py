"""haproxy.cfg as a draft of lb.toml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from lb.model.values import byte_size_text
from lb.tools.migrate.amounts import seconds_as_text
from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.formats import UnreadableError
from lb.tools.migrate.haproxy.admin import fill_admin
from lb.tools.migrate.haproxy.binds import TlsDefaults
from lb.tools.migrate.haproxy.conditions import Acls
from lb.tools.migrate.haproxy.limits import ClientLimits
from lb.tools.migrate.haproxy.listeners import BackendRoutes, FrontDraft
from lb.tools.migrate.haproxy.pools import fill_pool
from lb.tools.migrate.haproxy.proxies import Proxy, proxies_of
from lb.tools.migrate.haproxy.reading import read_haproxy
from lb.tools.migrate.haproxy.rules import ProxyRules
from lb.tools.migrate.haproxy.servers import server_lines
from lb.tools.migrate.haproxy.values import address_of_server, time_of
from lb.tools.migrate.haproxy.words import WORDS, nearest, why_not_needed
from lb.tools.migrate.migration import Directive, Migration

__all__ = ["WORDS", "translate"]

_WITHOUT_EFFECT = "it has no effect here"


def translate(path: Path) -> Migration:
    """Read a file. Return what became of each directive, with the draft. Raises UnreadableError."""
    root = read_haproxy(path)
    try:
        return _translated(root, path.parent.absolute())
    except (IndexError, ValueError) as error:
        raise UnreadableError(f"{path}: a value is missing or malformed, as `haproxy -c` says: {error}") from error


def _translated(root: Directive, directory: Path) -> Migration:
    draft = Draft()
    migration = Migration(WORDS, draft)
    migration.enter(root)
    tls = _tls_defaults(root, migration)
    _process(root, migration, draft)
    proxies = fill_admin(proxies_of(root, migration), root, migration, draft)
    zones = {each.args[0]: _cache(each, migration, draft) for each in root.below("cache") if each.args}
    _users(root, migration, draft)
    backends = _backends(proxies, draft, directory, tls, _nameservers(root, migration))
    limit = _connections(root, proxies, migration)
    for each in proxies:
        if each.is_front and (each.own("bind")):
            migration.place(each.section, draft.listener(each.name))
            limits = ClientLimits([each, *(other for other in proxies if other is not each)])
            rules = ProxyRules.read(each, directory, limits)
            migration.translated(each.section)
            FrontDraft(each, draft, directory, tls, rules, backends, zones).write(limit)
    _settle(root, proxies, migration)
    return migration


def _backends(
    proxies: Sequence[Proxy], draft: Draft, directory: Path, tls: TlsDefaults, nameservers: Sequence[str]
) -> Mapping[str, BackendRoutes]:
    """Write the pools of all backends, and return the backends by their names."""
    found = {}
    for each in (proxy for proxy in proxies if proxy.is_back):
        lines = server_lines(each)
        if lines:
            pool = draft.pool(each.name)
            each.migration.place(each.section, pool)
            fill_pool(pool, each, lines, tls, nameservers)
            each.migration.translated(each.section)
        elif each.section.name == "backend":
            each.migration.not_needed(each.section, "a backend without servers has only answers")
        limits = ClientLimits([each, *(other for other in proxies if other is not each)], applies=False)
        acls = Acls(each, directory)
        rules = ProxyRules(each, acls, limits) if each.is_front else ProxyRules.read(each, directory, limits)
        for line in each.all("compression algo"):
            each.migration.translated(line)
        found[each.name] = BackendRoutes(rules, bool(lines), is_compressed=bool(each.all("compression algo")))
    return found


# What stands in sections of its own


def _process(root: Directive, migration: Migration, draft: Draft) -> None:
    process = draft.table("process")
    for each in (line for section in root.below("global") for line in section.block or ()):
        if each.name in ("user", "group") and each.args[0] != "root":
            process[each.name] = each.args[0]
        elif each.name in ("nbthread", "nbproc") and each.args[0] != "1":
            process["workers"] = int(each.args[0])
        elif each.name == "hard-stop-after":
            process["stop_timeout"] = seconds_as_text(time_of(each.args[0]))
        else:
            continue
        migration.translated(each)
    if "user" not in process:
        process.keys.pop("group", None)


def _tls_defaults(root: Directive, migration: Migration) -> TlsDefaults:
    found = {each.name: each for section in root.below("global") for each in section.block or ()}
    for name in ("crt-base", "ca-base"):
        if name in found:
            migration.translated(found[name], "listeners.NAME.tls")
    options = found.get("ssl-default-bind-options")
    version: Literal["", "1.3"] = "1.3" if options is not None and "TLSv1.3" in options.args else ""
    if version and options is not None:
        migration.translated(options, "listeners.NAME.tls.min_version")
    bases = {name: found[name].args[0] if name in found else "" for name in ("crt-base", "ca-base")}
    return TlsDefaults(bases["crt-base"], bases["ca-base"], version)


def _connections(root: Directive, proxies: Sequence[Proxy], migration: Migration) -> int:
    """Return the limit of connections of each listener, that of the process."""
    found = [each for section in root.below("global") for each in section.below("maxconn")]
    if not found:
        return 0
    several = sum(len(each.own("bind")) > 0 for each in proxies if each.is_front) > 1
    migration.translated(found[-1], note="a limit of each listener, not of all together" if several else "")
    return int(found[-1].args[0])


def _cache(section: Directive, migration: Migration, draft: Draft) -> DraftTable:
    """Write a cache. Return what routes say of it."""
    cache = draft.table("caches", section.args[0])
    migration.place(section, cache)
    migration.translated(section)
    route = DraftTable()
    for each in section.block or ():
        if each.name == "total-max-size":
            cache["memory"] = byte_size_text(int(each.args[0]) << 20)
            migration.translated(each)
        elif each.name == "max-object-size":
            route["max_object"] = byte_size_text(int(each.args[0]))
            migration.translated(each)
    if "max_object" not in route and "memory" in cache:
        size = next(int(each.args[0]) << 20 for each in section.below("total-max-size"))
        route["max_object"] = byte_size_text(size // 256)
    return route


def _users(root: Directive, migration: Migration, draft: Draft) -> None:
    """Write lists of users: their names and passwords move to a file of their own."""
    for each in root.below("userlist"):
        users = draft.table("users", each.args[0])
        migration.place(each, users)
        users["file"] = f"{each.args[0]}.htpasswd"
        migration.translated(each, note=f"write a line `name:hash` for each user into {each.args[0]}.htpasswd")
        for line in each.block or ():
            if line.name == "user" and "insecure-password" in line.args:
                migration.gap(line, "only hashes: `htpasswd -B` makes them")
            elif line.name == "user" and not {"groups"} & {*line.args}:
                migration.translated(line, "users.NAME.file")
            else:
                migration.gap(line, "a list of users for each group")


def _nameservers(root: Directive, migration: Migration) -> list[str]:
    found = []
    for section in root.below("resolvers"):
        migration.translated(section)
        for each in section.below("nameserver"):
            address = address_of_server(each.args[1].partition("@")[2] or each.args[1])
            found.append((address or "").removesuffix(":53"))
            migration.translated(each)
    return [each for each in found if each]


def _settle(root: Directive, proxies: Sequence[Proxy], migration: Migration) -> None:
    """Say of each line of which nothing is said yet what becomes of it."""
    fronts = [each for each in proxies if each.is_front]
    for each in root.all():
        if each is root or migration.knows(each):
            continue
        name = (
            each.name
            if each.name not in ("http-request", "http-response")
            else f"{each.name} {' '.join(each.args[:1])}"
        )
        why = why_not_needed(name) or why_not_needed(each.name)
        if each.name == "acl":
            why = "no rule with a counterpart uses it"
        elif why is None and (each.name in WORDS or each.name.removeprefix("no ") in WORDS):
            why = _WITHOUT_EFFECT
        if why is None:
            migration.gap(each, nearest(name))
            for inner in each.block or ():
                migration.not_needed(inner, f"a part of `{each.name}`")
        elif each.name == "frontend" and fronts:
            migration.gap(each, "it has no `bind`")
        else:
            migration.not_needed(each, why)
