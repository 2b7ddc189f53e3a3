"""What nginx guards in a way that has no counterpart is closed in the draft: a migration opens nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from lb.tools.migrate.draft import DraftTable
from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.nginx.listener_settings import access_rules
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.words import nearest

__all__ = ["close_route", "reasons_to_close", "refuses"]

_GUARDS = ("secure_link", "secure_link_secret", "auth_jwt", "auth_oidc")
_REFUSALS = ("401", "403", "404", "410", "444")
_KEPT = ("name", "host", "path", "methods")


def reasons_to_close(scope: Scope, judged: Collection[Directive]) -> Iterator[tuple[Directive, str]]:
    """Yield the directives that guard a location and are not translated, and what comes nearest.

    ``judged``: the rules about networks that hold for the whole listener.
    """
    rules = [each for each in access_rules(scope) if each not in judged]
    if any(each.name == "deny" for each in rules):
        for each in rules:
            yield each, "`allow` and `deny` are of a whole listener: give it one of its own, or `auth`"
    for name in _GUARDS:
        guard = scope.last(name)
        if guard is not None and guard.args[0] != "off":
            yield guard, nearest(name)
    for name in ("auth_request", "limit_except"):
        for each in scope.all(name) if name == "auth_request" else scope.own(name):
            if scope.migration.is_gap(each):
                yield each, "`forward_auth`, `auth`, or `methods` of the route"
    yield from _refusing_conditions(scope)


def _refusing_conditions(scope: Scope) -> Iterator[tuple[Directive, str]]:
    for block in scope.blocks:  # those of the server, too
        for each in block.below("if"):
            if scope.migration.is_gap(each) and refuses(each.block or ()):
                yield each, "`auth` or `forward_auth` of the route"


def refuses(block: Iterable[Directive]) -> bool:
    """Whether a block answers with a refusal."""
    return any(each.name == "return" and each.args[0] in _REFUSALS for each in block)


def close_route(route: DraftTable, reasons: Sequence[tuple[Directive, str]], migration: Migration) -> None:
    """Make a route answer 403 in place of what it does, and say so."""
    was = next((f'{key} = "{route[key]}"' for key in ("pool", "files", "media") if key in route), "")
    route.keys = {key: value for key, value in route.keys.items() if key in _KEPT}
    route.below.clear()
    route.update({"respond": "", "status": 403})
    for directive, text in reasons:
        migration.gap(directive, f"closed until you decide: {text}; its target was {was}")
