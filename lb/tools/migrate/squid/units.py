"""Squid's times and sizes. Pure."""

from __future__ import annotations

import re

__all__ = ["squid_bytes", "squid_seconds"]

_PART = re.compile(r"([0-9.]+)\s*([a-z]*)")
_SECONDS = {"": 1, "s": 1, "ms": 0.001, "mi": 60, "h": 3600, "d": 86400, "w": 604800, "f": 1209600, "mo": 2592000}
_BYTES = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def squid_seconds(text: str) -> float:
    """Return ``5 minutes`` in seconds. Raises ValueError."""
    match = _PART.fullmatch(text.strip().lower())
    unit = match[2] if match else ""
    key = next((each for each in ("ms", "mi", "mo") if unit.startswith(each)), unit[:1])
    if match is None or ("mill" in unit and key != "mi") or key not in _SECONDS:
        raise ValueError(f"{text!r} is no time")
    return float(match[1]) * (0.001 if unit.startswith("milli") else _SECONDS[key])


def squid_bytes(text: str) -> int:
    """Return ``256 MB`` in bytes. Raises ValueError."""
    match = _PART.fullmatch(text.strip().lower().replace("bytes", "b"))
    if match is None or match[2] not in _BYTES:
        raise ValueError(f"{text!r} is no size")
    return int(float(match[1]) * _BYTES[match[2]])
