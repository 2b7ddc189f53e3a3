"""``if`` about methods, and ``limit_except``: routes with ``methods``, and routes beside them that refuse."""

from __future__ import annotations

from collections.abc import Sequence

from lb.tools.migrate.draft import DraftTable
from lb.tools.migrate.nginx.conditions import AnsweringIf, condition_of
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.targets import fill_return

__all__ = ["method_rules", "split_by_method"]


def method_rules(scope: Scope) -> list[AnsweringIf]:
    """Return the conditions about methods of a location. Others that are known have no meaning there: they are gaps."""
    rules = []
    for each in scope.own("if"):
        found = condition_of(scope.inside(each))
        if found is not None and found.variable != "request_method":
            scope.migration.gap(each, "routes choose by host, path and method")
        elif found is not None:
            rules.append(found)
    return rules


def split_by_method(listener: DraftTable, route: DraftTable, rules: Sequence[AnsweringIf], scope: Scope) -> None:
    """Add the routes for methods that are answered in another way, and give this one the methods that are left.

    ``rules`` are in the order in which nginx looks at them: each takes its methods from those that follow.
    """
    answered: set[str] = set()
    for found in rules:
        left = [name for name in found.values if name not in answered]
        if found.is_negated and "methods" not in route:
            _answer(listener, route, found, [])
            route["methods"] = [*left]
        elif found.is_negated:
            scope.migration.gap(found.scope.block, "`methods` of a route")
        elif left:
            _answer(listener, route, found, left)
            answered.update(left)
    _limit_except(listener, route, answered, scope)


def _limit_except(listener: DraftTable, route: DraftTable, answered: set[str], scope: Scope) -> None:
    for each in scope.own("limit_except"):
        names = [*each.args, *(["HEAD"] if "GET" in each.args and "HEAD" not in each.args else [])]
        left = [name for name in dict.fromkeys(names) if name not in answered]
        refused = [(inner.name, inner.args) for inner in each.block or ()] == [("deny", ("all",))]
        if not (refused and left) or "methods" in route:
            scope.migration.gap(each, "`methods` of a route, and `auth`")
            continue
        for inner in each.all():
            scope.migration.translated(inner, "listeners.NAME.routes.methods")
        _same_place(listener, route).update({"respond": "", "status": 403})
        route["methods"] = [*left]


def _answer(listener: DraftTable, route: DraftTable, found: AnsweringIf, names: Sequence[str]) -> None:
    answered = _same_place(listener, route)
    if names:
        answered["methods"] = [*names]
    found.scope.migration.place(found.scope.block, answered)
    if not fill_return(answered, found.scope, found.answer):
        answered.update({"respond": "", "status": 404})


def _same_place(listener: DraftTable, route: DraftTable) -> DraftTable:
    """Add a route with the same host and path."""
    found = listener.add("routes")
    found.update({key: value for key, value in route.keys.items() if key in ("host", "path")})
    return found
