"""Changes of what a route says, in a table that is not a draft yet. Pure."""

from __future__ import annotations

from typing import Literal, TypeAlias

from lb.tools.migrate.draft import DraftValue

__all__ = ["HeaderKind", "HeaderSide", "RouteEdits", "answer_with", "change_prefixes", "edit_header", "remove_header"]

RouteEdits: TypeAlias = dict[str, DraftValue]

HeaderSide = Literal["request_headers", "response_headers"]
HeaderKind = Literal["set", "add"]

_OF_ANSWERS = ("response_headers", "auth", "forward_auth", "auth_headers", "rate", "burst")


def edit_header(keys: RouteEdits, side: HeaderSide, kind: HeaderKind, name: str, value: str) -> None:
    """Set a field, or add one. In a request, Host is set with ``host_header``."""
    if side == "request_headers" and name.lower() == "host":
        keys["host_header"] = "client" if value == "{host}" else value
        return
    fields = _table(keys, side).setdefault(kind, {})
    assert isinstance(fields, dict)  # noqa: S101 - this module put it there
    fields[name] = value


def remove_header(keys: RouteEdits, side: HeaderSide, name: str) -> None:
    """Remove a field."""
    removed = _table(keys, side).setdefault("remove", [])
    assert isinstance(removed, list)  # noqa: S101 - likewise
    if name not in removed:
        removed.append(name)


def _table(keys: RouteEdits, side: HeaderSide) -> dict[str, DraftValue]:
    found = keys.setdefault(side, {})
    assert isinstance(found, dict)  # noqa: S101 - likewise
    return found


def change_prefixes(keys: RouteEdits, stripped: str, added: str) -> None:
    """Take a prefix off the path, and put one before it. What is empty is left as it was."""
    keys.update({key: value for key, value in (("strip_prefix", stripped), ("add_prefix", added)) if value})


def answer_with(keys: RouteEdits, **target: DraftValue) -> None:
    """Make the route an answer: what was said of the way to a server has no effect then, who may pass does."""
    kept = {key: value for key, value in keys.items() if key in _OF_ANSWERS}
    keys.clear()
    keys.update({**target, **kept})
