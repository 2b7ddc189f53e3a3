"""Readers for the options of the built-in probes. Each raises ValueError ``"option: message"`` for a bad value."""
# ruff: noqa: TRY004 - a value of the wrong type is, here, one more kind of wrong value

from __future__ import annotations

import re

__all__ = ["pattern", "text"]


def text(option: str, value: object) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise ValueError(f"{option}: must be a string, not {value!r}")
    return value


def pattern(option: str, value: object) -> re.Pattern[bytes]:
    r"""A regular expression for bytes. Text in it stands for its UTF-8, ``\xff`` for that byte."""
    try:
        return re.compile(text(option, value).encode())
    except re.error as error:
        raise ValueError(f"{option}: {value!r} is not a regular expression: {error}") from error
