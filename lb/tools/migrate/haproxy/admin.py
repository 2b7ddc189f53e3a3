"""``stats`` of proxies, and the socket of ``global``, as the admin endpoint."""

from __future__ import annotations

from collections.abc import Sequence

from lb.tools.migrate.draft import Draft
from lb.tools.migrate.haproxy.proxies import Proxy
from lb.tools.migrate.haproxy.values import bound_addresses
from lb.tools.migrate.migration import Directive, Migration

__all__ = ["fill_admin"]

_STATS = (
    "stats enable",
    "stats uri",
    "stats auth",
    "stats realm",
    "stats admin",
    "stats refresh",
    "stats hide-version",
)
_PORT = 9900
_LOCAL = ("127.", "localhost:", "[::1]:", "unix:")


def fill_admin(proxies: Sequence[Proxy], root: Directive, migration: Migration, draft: Draft) -> list[Proxy]:
    """Write the admin endpoint, if the file has one. Return the proxies that are for something else, too."""
    admin = draft.table("admin")
    others = [*proxies]
    for each in proxies:
        own = [line for line in each.section.block or () if line.name in ("stats enable", "stats uri")]
        exported = [line for line in each.own("http-request") if "prometheus-exporter" in line.args]
        if not own and not exported:
            continue
        for line in (*exported, *(line for line in each.section.block or () if line.name in _STATS)):
            migration.translated(line, "admin.bind")
        is_only_stats = not (each.all("server", "server-template", "default_backend", "use_backend"))
        if "bind" not in admin:
            migration.place(each.section, admin)
            admin["bind"] = _address(each, admin_only=is_only_stats)
        if each.own("stats auth"):
            migration.translated(each.own("stats auth")[0], "admin.token_file", "programs and browsers show a token")
        if is_only_stats and each.is_front:
            others.remove(each)
            for line in each.section.all():
                migration.translated(line, "admin.bind")
    for line in (line for section in root.below("global") for line in section.below("stats socket")):
        migration.translated(line, "admin.bind")
        if "bind" not in admin:
            admin["bind"] = f"unix:{line.args[0]}"
    return others


def _address(proxy: Proxy, *, admin_only: bool) -> str:
    """Return where the endpoint listens: where the page of statistics did, if nothing else is there."""
    binds = proxy.own("bind")
    found = bound_addresses(binds[0].args[0], both_families=False) if binds and admin_only else None
    if not found:
        return f"127.0.0.1:{_PORT}"
    if found[0].startswith(_LOCAL):
        return found[0]
    note = "on this host alone: an address that other machines reach needs `token_file`"
    proxy.migration.translated(binds[0], "admin.bind", note)
    return f"127.0.0.1:{found[0].rpartition(':')[2]}"
