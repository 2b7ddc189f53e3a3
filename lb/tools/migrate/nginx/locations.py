"""Locations as paths of routes: prefixes, exact paths, and the regular expressions that mean some of these."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

from lb.tools.migrate.nginx.scope import Scope

__all__ = ["LocationBlock", "is_about_dot_files", "locations_of", "paths_of_regex"]

_LITERAL = re.compile(r"(?:[A-Za-z0-9/_~%@:,=&!'\" -]|\\[.\-+_/?*()\[\]{}|^$])*")
_GROUP = re.compile(r"\((?:\?:)?([A-Za-z0-9_.\\|/-]+)\)")
_ENDS = {
    "": False, "$": True, ".*": False, ".*$": False, "(.*)": False, "(.*)$": False, "(/|$)": False, "(?:/|$)": False,
    "(/.*)?$": False, "(/.*)?": False, "(?:/.*)?$": False,
}  # fmt: skip
"""What may follow the literal part of an expression, and whether only the path itself is meant."""


@attrs.frozen
class LocationBlock:
    """A location, or what a server does where none takes a request: then its scope is that of the server."""

    kind: str
    """``=``, ``^~``, ``~``, ``~*``, ``@`` of a named one, or empty for a prefix."""
    path: str
    scope: Scope

    @property
    def is_regex(self) -> bool:
        return self.kind in ("~", "~*")

    @property
    def is_internal(self) -> bool:
        """Whether no client can reach it."""
        return self.kind == "@" or bool(self.scope.own("internal"))


def locations_of(scope: Scope) -> Iterator[LocationBlock]:
    """Yield the locations of a server, also those that stand in others."""
    for directive in scope.own("location"):
        found = _location(scope.inside(directive))
        yield found
        yield from locations_of(found.scope)


def _location(scope: Scope) -> LocationBlock:
    args = scope.block.args
    if len(args) > 1:
        return LocationBlock(args[0], args[1], scope)
    text = args[0]
    for kind in ("@", "=", "^~", "~*", "~"):
        if text.startswith(kind):
            return LocationBlock(kind, text if kind == "@" else text[len(kind) :], scope)
    return LocationBlock("", text, scope)


def is_about_dot_files(expression: str) -> bool:
    r"""Whether an expression is one for hidden files: ``/\.``, ``(^|/)\.``, ``/\.ht``, ``/\.(?!well-known)``."""
    return re.match(r"(\^?/|\(\^\|/\))\\\.", expression) is not None


def paths_of_regex(expression: str) -> Sequence[tuple[str, bool]] | None:
    """Return the paths that an expression means, and whether each is exact; None if it means something else."""
    if not expression.startswith("^/"):
        return None
    rest = expression[1:]
    heads = [""]
    while True:
        literal = _LITERAL.match(rest)
        assert literal is not None  # noqa: S101 - it matches the empty text
        heads = [head + re.sub(r"\\(.)", r"\1", literal[0]) for head in heads]
        rest = rest[literal.end() :]
        if rest in _ENDS:
            return [(head, _ENDS[rest]) for head in heads if head]
        if rest in ("?$", "?") and all(head.endswith("/") and len(head) > 1 for head in heads):
            return [(head.removesuffix("/"), rest == "?$") for head in heads] + [
                (head, True) for head in heads if rest == "?$"
            ]
        group = _GROUP.match(rest)
        if group is None:
            return None
        choices = [re.sub(r"\\(.)", r"\1", each) for each in group[1].split("|")]
        if any("\\" in each for each in choices):
            return None
        heads = [head + each for head in heads for each in choices]
        rest = rest[group.end() :]
