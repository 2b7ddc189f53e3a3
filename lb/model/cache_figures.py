"""What a cache has done and holds: in one process, or added up over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import attrs

__all__ = ["MOST_TOP_OBJECTS", "CacheFigures", "CacheTier", "TierName", "hit_ratio"]

TierName: TypeAlias = Literal["memory", "disk"]

MOST_TOP_OBJECTS = 20
"""Maximum objects that are listed as asked for most often."""
_FROM_THE_CACHE = ("HIT", "STALE", "UPDATING", "REVALIDATED")
"""Results whose body came out of the cache."""


@attrs.frozen
class CacheTier:
    """What a cache holds in memory, or on disk."""

    objects: int = 0
    bytes: int = 0
    limit: int = 0
    """Maximum bytes."""

    def plus(self, other: CacheTier) -> CacheTier:
        return CacheTier(self.objects + other.objects, self.bytes + other.bytes, self.limit + other.limit)

    def or_larger(self, other: CacheTier) -> CacheTier:
        """Return the figures of what two processes share: they have looked at different moments."""
        return max(self, other, key=lambda tier: tier.bytes)


@attrs.frozen
class CacheFigures:
    """The figures of one zone. Counts are since the start, and never decrease."""

    memory: CacheTier = CacheTier()
    disk: CacheTier | None = None
    """All processes share it; None: it has none."""
    requests: Mapping[str, int] = attrs.field(factory=dict)
    """By result: ``HIT``, ``MISS`` and so on."""
    fills: int = 0
    fills_under_way: int = 0
    evictions: Mapping[str, int] = attrs.field(factory=dict)
    """Objects that were removed, by why: ``size``, ``inactive``, ``purge``."""
    errors: Mapping[str, int] = attrs.field(factory=dict)
    """Failures of the disk, by kind: ``read``, ``write``, ``full``, ``corrupt``."""
    top: Mapping[str, int] = attrs.field(factory=dict)
    """The keys that were asked for most often, with about how many requests."""

    def plus(self, other: CacheFigures) -> CacheFigures:
        """Return the sum with another process."""
        disks = [tier for tier in (self.disk, other.disk) if tier is not None]
        return CacheFigures(
            self.memory.plus(other.memory),
            disks[0].or_larger(disks[-1]) if disks else None,
            _sum(self.requests, other.requests),
            self.fills + other.fills,
            self.fills_under_way + other.fills_under_way,
            _sum(self.evictions, other.evictions),
            _sum(self.errors, other.errors),
            _largest(_sum(self.top, other.top).items()),
        )

    def totals(self) -> CacheFigures:
        """Return what remains of a process that has ended: what it has done, and nothing that it had."""
        return attrs.evolve(self, memory=CacheTier(), disk=None, fills_under_way=0)


def hit_ratio(requests: Mapping[str, int], before: Mapping[str, int] | None = None) -> float | None:
    """Return the part of the requests that got a stored response, 0 to 1; None without requests.

    ``before``: the counts at an earlier moment; only what came since then counts.
    """
    since = {result: count - (before or {}).get(result, 0) for result, count in requests.items()}
    total = sum(since.values())
    return sum(since.get(result, 0) for result in _FROM_THE_CACHE) / total if total > 0 else None


def _sum(ours: Mapping[str, int], theirs: Mapping[str, int]) -> dict[str, int]:
    return {key: ours.get(key, 0) + theirs.get(key, 0) for key in (*ours, *theirs)}


def _largest(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    return dict(sorted(counts, key=lambda item: -item[1])[:MOST_TOP_OBJECTS])
