"""The time, for people to read in what nodes share. Nothing is decided by it."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["utc_now"]


def utc_now() -> str:
    """Return the time by this host's clock: ISO 8601 with milliseconds, ``2026-11-29T15:38:48.123Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
