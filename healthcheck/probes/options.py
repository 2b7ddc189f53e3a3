"""Readers for the options of the built-in probes. Each raises ValueError ``"option: message"`` for an invalid value."""
# ruff: noqa: TRY004 - a value of the wrong type is an invalid value here

from __future__ import annotations

import re
from collections.abc import Sequence

from healthcheck.pattern import Pattern

__all__ = ["items", "pattern", "secret", "table", "text", "word"]


def text(option: str, value: object) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise ValueError(f"{option}: must be a string, not {value!r}")
    return value


def secret(option: str, value: object) -> str:
    """Any string. Messages never show the value."""
    if not isinstance(value, str):
        raise ValueError(f"{option}: must be a string")
    return value


def word(option: str, value: object) -> str:
    """A string without spaces and control characters, which would end it early in a protocol."""
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f]*", text(option, value)):
        raise ValueError(f"{option}: must hold no spaces or control characters, not {value!r}")
    return str(value)


def pattern(option: str, value: object) -> Pattern | None:
    """A regular expression; None if it is empty."""
    if not text(option, value):
        return None
    try:
        return Pattern(str(value))
    except ValueError as error:
        raise ValueError(f"{option}: {value!r} is not a regular expression: {error} (RE2)") from error


def items(option: str, value: object) -> Sequence[object]:
    """Any list."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{option}: must be a list")
    return value


def table(option: str, value: object) -> dict[str, object]:
    """A table: a dict, or a tuple of pairs, as the configuration stores it."""
    if isinstance(value, dict):
        return value
    pair = 2
    if isinstance(value, tuple) and all(isinstance(item, tuple) and len(item) == pair for item in value):
        return dict(value)
    raise ValueError(f"{option}: must be a table")
