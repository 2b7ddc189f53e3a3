"""The addresses that servers listen on, and which servers share one: these are a listener."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from lb.tools.migrate.draft import DraftValue
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.scope import Scope

__all__ = ["Group", "Listen", "groups_of", "merged", "read_listen"]

_ANY = ("*", "0.0.0.0", "")  # noqa: S104 - the words for it


@attrs.frozen
class Listen:
    """One ``listen``: its address as lb.toml has it, and its options."""

    directive: Directive | None
    """None where a server has no ``listen``."""
    address: str
    port: str
    options: frozenset[str]

    def has(self, name: str) -> bool:
        return name in self.options

    @property
    def is_default(self) -> bool:
        return self.has("default_server") or self.has("default")


@attrs.define
class Group:
    """Servers that share addresses: a listener."""

    addresses: list[str]
    port: str
    listens: list[Listen]
    servers: list[Scope]
    """The default server first."""

    def has(self, option: str) -> bool:
        return any(each.has(option) for each in self.listens)


def read_listen(directive: Directive) -> Listen:
    """Read ``listen 8080 default_server``. ``:80`` is all addresses, ``0.0.0.0:80`` those of IPv4 are the same."""
    where = directive.args[0]
    options = frozenset(directive.args[1:])
    if where.startswith("unix:"):
        return Listen(directive, where, "", options)
    host, colon, port = where.rpartition(":")
    if where.endswith("]"):
        host, port = where, "80"
    elif not colon:
        host, port = ("", where) if where.replace("-", "").isdigit() else (where, "80")
    return Listen(directive, f"{'' if host in _ANY else host}:{port}", port, options)


def _listens(server: Scope) -> Sequence[Listen]:
    found = [read_listen(each) for each in server.own("listen") if each.args]
    return found or [Listen(None, ":80", "80", frozenset())]


def groups_of(servers: Iterable[Scope]) -> list[Group]:
    """Return the servers by address, and addresses with the same servers as one."""
    by_address: dict[str, Group] = {}
    for server in servers:
        for listen in _listens(server):
            group = by_address.setdefault(listen.address, Group([listen.address], listen.port, [], []))
            group.listens.append(listen)
            if all(each.block is not server.block for each in group.servers):
                group.servers.insert(0 if listen.is_default else len(group.servers), server)
    found: dict[tuple[object, ...], Group] = {}
    for group in by_address.values():
        told = (tuple(id(each.block) for each in group.servers), group.has("ssl"), group.has("proxy_protocol"))
        same = found.setdefault(told, group)
        if same is not group:
            same.addresses += group.addresses
            same.listens += group.listens
    return list(found.values())


def merged(addresses: Sequence[str]) -> DraftValue:
    """Return the value of ``bind``: ``:80`` stands for IPv6, too."""
    found = [each for each in dict.fromkeys(addresses) if not (each.startswith("[::]:") and each[4:] in addresses)]
    return found[0] if len(found) == 1 else [*found]
