"""Caches as configured: the zones, and what a route keeps in one."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from lb.model.address import Networks

__all__ = ["CacheSpec", "IgnoredField", "RouteCache", "StaleReason"]

StaleReason: TypeAlias = Literal[
    "error",
    "timeout",
    "updating",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
]
"""Why a stale response is served: the server failed, was too slow, is asked already, or answered so."""

IgnoredField: TypeAlias = Literal[
    "cache-control", "cdn-cache-control", "expires", "set-cookie", "vary", "x-accel-expires"
]
"""Response fields that a route may be told not to heed."""


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


@attrs.frozen
class RouteCache:
    """A table ``[listeners.NAME.routes.cache]``: which responses a route keeps, how long, and who gets them."""

    zone: CacheSpec
    valid: tuple[tuple[int | None, float], ...] = ()
    """Seconds that a response of a status is fresh if it says nothing itself; None = any status. 0 = not stored."""
    use_stale: frozenset[StaleReason] = frozenset(("error", "timeout", "updating"))
    status_header: str = ""
    """The name of a response field that says what the cache did; empty = none."""
    key: str = "{scheme}{host}{uri}"
    """See :class:`lb.cache.cache_key.KeyTemplate`."""
    collapse: bool = True
    background_update: bool = True
    revalidate: bool = True
    slice: int = 1 << 20
    """Bytes of a slice; 0 = ranges are not fetched in slices."""
    min_uses: int = 1
    """Requests after which a response is stored."""
    max_object: int = 0
    """Maximum bytes of a stored body; 0 = no limit."""
    bypass: tuple[str, ...] = ()
    """Conditions like ``cookie:NAME`` under which the server is asked."""
    no_store: tuple[str, ...] = ()
    """Conditions like ``cookie:NAME`` under which the response is not stored."""
    ignore: frozenset[IgnoredField] = frozenset()
    obey_client: bool = False
    """Whether Cache-Control of requests counts."""
    purge: Networks = attrs.field(factory=Networks)
    """Clients that may send PURGE."""
