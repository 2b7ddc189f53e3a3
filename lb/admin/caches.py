"""The caches, for ``GET /api/v1/caches`` and the status; and what a purge asks for."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import attrs

from lb.admin.messages import HttpError
from lb.dataplane.stats import StatsSnapshot
from lb.model import CacheSpec
from lb.model.cache_figures import CacheFigures, CacheTier, hit_ratio
from lb.model.purge import Purge, PurgeKind
from lb.model.values import text

__all__ = ["caches_of", "purge_of"]

_RESULTS = ("HIT", "MISS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED", "BYPASS")
_KINDS: tuple[PurgeKind, ...] = ("url", "prefix", "tag")


def caches_of(
    specs: Mapping[str, CacheSpec], stats: StatsSnapshot, before: Mapping[str, CacheFigures], most_keys: int = 20
) -> dict[str, object]:
    """Return the document of each cache, with so many keys. ``before``: the figures as they were a minute ago."""
    return {
        name: _cache(spec, stats.caches.get(name, CacheFigures()), before.get(name, CacheFigures()), most_keys)
        for name, spec in specs.items()
    }


def _cache(spec: CacheSpec, figures: CacheFigures, before: CacheFigures, most_keys: int) -> dict[str, object]:
    disk = (figures.disk or CacheTier(limit=spec.max_size)) if spec.path else None
    last_minute = hit_ratio(figures.requests, before.requests)
    since_start = hit_ratio(figures.requests)
    return {
        "memory": _tier(attrs.evolve(figures.memory, limit=spec.memory)),
        "disk": None if disk is None else _tier(disk),
        "hit_ratio": {"last_minute": _rounded(last_minute), "since_start": _rounded(since_start)},
        "requests": {result: figures.requests.get(result, 0) for result in _RESULTS},
        "fills": figures.fills,
        "fills_under_way": figures.fills_under_way,
        "evictions": dict(figures.evictions),
        "errors": dict(figures.errors),
        "top": [{"key": key, "requests": count} for key, count in islice(figures.top.items(), most_keys)],
    }


def _tier(tier: CacheTier) -> dict[str, int]:
    return {"objects": tier.objects, "bytes": tier.bytes, "max_bytes": tier.limit}


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 4)


def purge_of(body: Mapping[str, object]) -> Purge:
    """Return what the body of a request asks to be purged. Raises HttpError."""
    kinds = [kind for kind in _KINDS if kind in body]
    if len(kinds) != 1 or len(body) != 1:
        raise HttpError(422, 'the body must be {"url": "…"}, {"prefix": "…"} or {"tag": "…"}')
    try:
        return Purge.parse(kinds[0], text(body[kinds[0]]))
    except ValueError as error:
        raise HttpError(422, f"{kinds[0]}: {error}") from error
