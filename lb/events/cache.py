"""Events of caches."""

from __future__ import annotations

import attrs

from lb.events.base import Event

__all__ = ["CacheCorrupt", "CacheDisabled", "CacheFull", "CacheScanned"]


@attrs.frozen
class CacheScanned(Event):
    """All files of a zone were counted: from now on, it stores. One process of those that share it does that."""

    name = "cache.scanned"
    zone: str
    objects: int
    bytes: int
    seconds: float


@attrs.frozen
class CacheFull(Event):
    """The disk of a zone is full, before the zone is. Responses pass through. Emitted at most once a minute."""

    name = "cache.full"
    level = "warning"
    zone: str
    path: str
    error: str


@attrs.frozen
class CacheDisabled(Event):
    """The directory of a zone cannot be used. Responses pass through. Emitted once per series of failures."""

    name = "cache.disabled"
    level = "warning"
    zone: str
    path: str
    error: str


@attrs.frozen
class CacheCorrupt(Event):
    """A file of a zone was damaged or is none of its own, and was not served. Emitted at most once a minute."""

    name = "cache.corrupt"
    level = "warning"
    zone: str
    path: str
    """Of the file."""
    files: int
    """Number of such files since the last such event."""
