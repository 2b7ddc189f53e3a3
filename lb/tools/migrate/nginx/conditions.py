"""``if`` of servers and locations, as far as hosts, schemes and methods decide: the others have no counterpart."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.scope import Scope

__all__ = ["AnsweringIf", "condition_of", "redirecting_rewrite"]

_METHODS = re.compile(r"\^?\(?([A-Z|]+)\)?\$?")
_WHOLE = re.compile(r"\^(/?(\(\.\*\)|\.\*)\$?)?|\^/\(\.\*\)\$?|\(\.\*\)|\.\*|/")
"""Expressions that match any path."""
_NEAREST = "routes choose by host, path and method"


@attrs.frozen
class AnsweringIf:
    """An ``if`` whose block answers the request."""

    variable: str
    """``host``, ``scheme`` or ``request_method``."""
    values: tuple[str, ...]
    is_negated: bool
    answer: Directive
    """A ``return``."""
    scope: Scope


def condition_of(scope: Scope) -> AnsweringIf | None:
    """Return the condition of the block ``if`` of a scope; None, with a gap, if it has no counterpart."""
    block = scope.block
    answers = block.below("return") or [
        answer for each in block.below("rewrite") if (answer := redirecting_rewrite(each)) is not None
    ]
    found = _compared(block.args)
    others = {"return", "rewrite", "add_header", "set", "access_log"}
    if found is None or len(answers) != 1 or {each.name for each in block.block or ()} - others:
        scope.migration.gap(block, _NEAREST)
        for each in block.block or ():
            scope.migration.not_needed(each, "a part of the `if` around it")
        return None
    scope.migration.translated(block)
    for each in block.below("rewrite"):
        scope.migration.translated(each, "listeners.NAME.routes.redirect")
    return AnsweringIf(*found, answers[0], scope)


def _compared(args: Sequence[str]) -> tuple[str, tuple[str, ...], bool] | None:
    """Return variable, values and whether it is none of them."""
    if len(args) != 3:
        return None
    variable, operator, value = args[0].lstrip("$"), args[1], args[2]
    if variable == "https":
        variable, value = "scheme", {"on": "https", "": "http", "off": "http"}.get(value, value)
    if variable in ("http_host", "server_name"):
        variable = "host"
    if operator in ("=", "!=") and variable in ("host", "scheme", "request_method"):
        return variable, (value,), operator == "!="
    methods = _METHODS.fullmatch(value)
    if variable == "request_method" and operator in ("~", "!~", "~*", "!~*") and methods:
        return variable, tuple(methods[1].split("|")), operator.startswith("!")
    plain = re.fullmatch(r"\^?((?:[\w-]|\\\.)+)\$", value)
    if variable == "host" and operator.lstrip("!") in ("~", "~*") and plain and value.startswith("^"):
        return variable, (plain[1].replace("\\.", "."),), operator.startswith("!")
    return None


def redirecting_rewrite(directive: Directive) -> Directive | None:
    """Return ``rewrite ^(.*)$ https://host$1 permanent`` as ``return``; None if it is something else."""
    expression, target, *flags = directive.args
    if not (flags in (["permanent"], ["redirect"]) or target.startswith(("http://", "https://", "$scheme"))):
        return None
    if not _WHOLE.fullmatch(expression):
        return None
    keeps_slash = "/(" in expression
    url = target.removesuffix("?")
    if url.endswith("$1"):
        url = url.removesuffix("/$1" if keeps_slash else "$1") + "$request_uri"
    elif not target.endswith("?") and "$request_uri" not in target:
        return None  # nginx adds the query
    if "$1" in url:
        return None
    status = "301" if flags == ["permanent"] else "302"
    return attrs.evolve(directive, name="return", args=(status, url))
