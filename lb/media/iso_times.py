"""Times and durations as playlists write them (ISO 8601)."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

__all__ = ["iso_duration", "iso_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@functools.lru_cache(maxsize=1_024)
def iso_time(seconds: float) -> str:
    """Return a time in seconds since 1970 like ``2026-11-28T12:00:00.250Z``. It is quick for one that comes again."""
    at = _EPOCH + timedelta(milliseconds=round(seconds * 1_000))
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1_000:03}Z"


def iso_duration(seconds: float) -> str:
    """Return seconds like ``PT2S`` or ``PT0.25S``, to the millisecond."""
    text = f"{seconds:.3f}".rstrip("0").rstrip(".")
    return f"PT{text}S"
