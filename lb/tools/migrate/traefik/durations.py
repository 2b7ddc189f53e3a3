"""Durations as Traefik has them, in Go's form or in seconds. Pure."""

from __future__ import annotations

import re

from lb.tools.migrate.amounts import seconds_as_text

__all__ = ["go_duration", "go_seconds"]

_PART = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


def go_seconds(text: str) -> float:
    """Return ``1m30s``, or a number of seconds, in seconds. Raises ValueError."""
    if text.replace(".", "", 1).isdigit():
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join("".join(each) for each in parts) != text:
        raise ValueError(f"{text!r} is no duration")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def go_duration(text: str) -> str:
    """Return a duration as lb.toml has it. Raises ValueError."""
    return seconds_as_text(go_seconds(text))
