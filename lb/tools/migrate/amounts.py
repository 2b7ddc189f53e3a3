"""Times as a person would write them into lb.toml. Pure."""

from __future__ import annotations

__all__ = ["seconds_as_text"]

_TIMES = ((3600, "h"), (60, "m"), (1, "s"))


def seconds_as_text(seconds: float) -> str:
    """Return seconds in the largest unit that needs no fraction; below a millisecond, a millisecond."""
    if seconds <= 0:
        return "0"
    if seconds != int(seconds):
        return f"{max(1, round(seconds * 1000))}ms"
    return next(f"{int(seconds) // size}{unit}" for size, unit in _TIMES if seconds % size == 0)
