"""nginx's times and sizes in the units of lb.toml. Pure."""

from __future__ import annotations

import re

from lb.model.values import byte_size_text
from lb.tools.migrate.amounts import seconds_as_text

__all__ = ["as_duration", "as_size", "byte_count", "time_in_seconds"]

_PART = re.compile(r"([0-9]+)(ms|[smhdwMy]?)")
_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def time_in_seconds(text: str) -> float:
    """Return a time such as ``1h 30m``, ``90s`` or ``90``. Raises ValueError."""
    parts = _PART.findall(text)
    if not parts or "".join("".join(each) for each in parts) != text.replace(" ", ""):
        raise ValueError(f"{text!r} is no time")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def as_duration(text: str | float) -> str:
    """Return a time of nginx, or a number of seconds, as lb.toml has it. Raises ValueError."""
    return seconds_as_text(time_in_seconds(text) if isinstance(text, str) else text)


def byte_count(text: str) -> int:
    """Return a size such as ``10m`` in bytes. Raises ValueError."""
    match = re.fullmatch(r"([0-9]+)([kmg]?)", text.lower())
    if match is None:
        raise ValueError(f"{text!r} is no size")
    return int(match[1]) * _BYTES[match[2]]


def as_size(text: str | int, least: int = 0) -> str:
    """Return a size of nginx, or a number of bytes, as lb.toml has it. Raises ValueError.

    ``least``: what lb.toml has at least, unless it is 0.
    """
    found = byte_count(text) if isinstance(text, str) else text
    return byte_size_text(max(found, least) if found else 0)
