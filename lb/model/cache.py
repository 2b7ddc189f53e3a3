"""Caches as configured."""

from __future__ import annotations

import attrs

__all__ = ["CacheSpec"]


@attrs.frozen
class CacheSpec:
    """A table ``[caches.NAME]``: a zone, which holds responses in memory, and on disk if it has a path."""

    name: str
    path: str = ""
    """An absolute path of a directory; empty = memory only."""
    max_size: int = 1 << 30
    """Maximum bytes on disk."""
    memory: int = 64 << 20
    """Maximum bytes in memory; 0 = none."""
    inactive: float = 3600.0
    """Seconds after which a response is removed that nobody asked for."""
