"""Write a draft as the text of lb.toml: in the usual order, as a person would write it."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from lb.tools.migrate.draft import DraftTable, DraftValue

__all__ = ["toml_text"]

WIDTH = 120
"""Columns of a line. A list that is longer gets a line for each value, a small table a header of its own."""

TABLES = ("process", "log", "admin", "caches", "users", "media", "listeners", "pools")
"""The order of the file."""
KEY_ORDER: Mapping[tuple[str, ...], Sequence[str]] = {
    ("listeners", "*"): ("mode", "bind", "pool", "servers", "accept_proxy", "allow", "deny", "trusted_proxies"),
    ("listeners", "*", "routes"): (
        *("name", "host", "path", "methods", "pool", "files", "media", "redirect", "respond", "status"),
        *("strip_prefix", "add_prefix", "host_header", "request_headers", "response_headers", "auth", "forward_auth"),
        *("auth_headers", "compress", "rate", "burst", "limit_rate", "limit_rate_after"),
    ),
    ("listeners", "*", "routes", "cache"): ("zone", "key", "valid", "use_stale", "status_header"),
    ("pools", "*"): ("strategy", "sticky", "servers"),
}
"""The keys that come first, by table; the others follow as they were set. ``*`` stands for a name."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(draft: DraftTable) -> str:
    """Return the text. Empty tables are left out, unless they must be there (a pool without keys is written)."""
    blocks = [_comments(draft.notes)] if draft.notes else []
    blocks += _blocks(draft, ())
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _blocks(table: DraftTable, path: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the tables below one, each as lines."""
    order = [*TABLES, *table.below] if not path else [*table.below]
    for key in dict.fromkeys(each for each in order if each in table.below):
        below = table.below[key]
        at = (*path, key)
        for each in below if isinstance(below, list) else [below]:
            if not each.is_empty():
                yield from _block(each, at, "[[{}]]" if isinstance(below, list) else "[{}]")


def _block(table: DraftTable, path: tuple[str, ...], header: str) -> Iterator[list[str]]:
    """Yield a table, then those below it. A table that only holds others has no header of its own."""
    lines, wide = [], []
    for key in _ordered(table, path):
        line = f"{_key(key)} = {_value(table.keys[key])}"
        if isinstance(table.keys[key], dict) and len(line) > WIDTH:
            wide.append(key)
        else:
            lines.append(line)
    if lines or table.notes or header.startswith("[["):
        yield [header.format(_dotted(path)), *lines, *_comments(table.notes)]
    for key in wide:
        yield from _wide(table.keys[key], (*path, key))
    yield from _blocks(table, path)


def _wide(values: DraftValue, path: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield a small table that is too wide for a line."""
    table = DraftTable()
    assert isinstance(values, dict)  # noqa: S101 - that is what is wide
    for key, value in values.items():
        if isinstance(value, dict) and value:
            table.table(key).update(value)
        else:
            table[key] = value
    yield from _block(table, path, "[{}]")


def _ordered(table: DraftTable, path: tuple[str, ...]) -> list[str]:
    pattern = tuple("*" if number == 1 else each for number, each in enumerate(path))
    first = [key for key in KEY_ORDER.get(pattern, ()) if key in table]
    return [*first, *(key for key in table.keys if key not in first)]


def _dotted(path: Sequence[str]) -> str:
    return ".".join(map(_key, path))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(value: str) -> str:
    """Return a basic string. JSON's escapes are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: DraftValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return _inline(value)
    if isinstance(value, list):
        line = f"[{', '.join(map(_value, value))}]"
        if len(line) < WIDTH - len("request_headers = ") and not any(isinstance(each, dict) for each in value):
            return line
        return "[\n" + "".join(f"    {_value(each)},\n" for each in value) + "]"
    return str(value)


def _inline(value: Mapping[str, DraftValue]) -> str:
    return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }" if value else "{}"


def _comments(notes: Sequence[str]) -> list[str]:
    return [
        line
        for note in notes
        for line in textwrap.wrap(
            note, WIDTH, initial_indent="# ", subsequent_indent="#   ", break_long_words=False, break_on_hyphens=False
        )
    ]
