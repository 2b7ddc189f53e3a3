"""The document of ``GET /api/v1/overview``: what the dashboard shows, in bounded size whatever is configured."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import attrs

from lb.admin.overview_cards import cards
from lb.admin.overview_list import OverviewList, found_by
from lb.admin.overview_query import OverviewQuery
from lb.admin.pool_sums import PoolSums
from lb.admin.process import Process
from lb.admin.recent_requests import RecentRequests, http_listeners
from lb.admin.status import server_document
from lb.admin.surveyor import Survey
from lb.admin.utc_text import utc_text
from lb.control.balancer import Balancer
from lb.dataplane.stats import Connects
from lb.model.printable import shortened
from lb.net.cooperate import done_in_turns
from lb.pools.backend import Backend

__all__ = ["overview"]

POOLS_NAMED = 10
"""Pools without an available server that are named."""
SOURCES_NAMED = 5
"""Failing sources of a pool that are named."""
REASON_LENGTH = 300
"""Maximum characters of a reason or an error."""


async def overview(
    process: Process, survey: Survey, recent: RecentRequests, query: OverviewQuery, host: str
) -> dict[str, object]:
    """Return the document. ``host`` is the Host of the request, for the URLs of streams.

    The page of a pool has the totals and the list alone.
    """
    balancer = process.balancer
    found = await done_in_turns(found_by(survey.pools, survey.stats.leased, query))
    return {
        "timestamp": utc_text(time.time()),
        "totals": _totals(balancer, survey),
        "list": _list(balancer, survey, found),
        **({} if query.pool is not None else await cards(process, survey, recent, found, query.words, host)),
    }


def _totals(balancer: Balancer, survey: Survey) -> dict[str, object]:
    pools, stats = survey.pools.values(), survey.stats
    states: Counter[str] = Counter()
    for sums in pools:
        states.update(sums.states)
    without = [sums.pool.name for sums in pools if not sums.available]
    shown = [stats.figures.connects.get(name, Connects()) for name in survey.pools]
    http = http_listeners(balancer)
    return {
        "pools": len(survey.pools),
        "servers": sum(states.values()),
        "states": states,
        "without": {"count": len(without), "names": without[:POOLS_NAMED]},
        "active": sum(balancer.data_plane.active(name) for name in balancer.bound),
        "accepted": sum(stats.accepted.get(name, 0) for name in balancer.bound),
        "requests": sum(each.total for each in stats.figures.requests.values()) if http else None,
        "bytes_in": stats.figures.bytes_in,
        "bytes_out": stats.figures.bytes_out,
        "connects": sum(sum(each.buckets) for each in shown),
        "connect_seconds": round(sum(each.seconds for each in shown), 6),
    }


def _list(balancer: Balancer, survey: Survey, found: OverviewList) -> dict[str, object]:
    counts = attrs.asdict(found, filter=attrs.filters.exclude("rows"))
    return {
        **counts,
        "rows": [_pool(balancer, survey, found, sums, backends) for sums, backends in found.rows],
    }


def _pool(
    balancer: Balancer, survey: Survey, found: OverviewList, sums: PoolSums, backends: Sequence[Backend]
) -> dict[str, object]:
    pool, worst = sums.pool, sums.worst
    failing = [(key.text, known.error) for key, known in balancer.sources(pool.spec).items() if known.error]
    document: dict[str, object] = {
        "name": pool.name,
        "strategy": pool.spec.strategy.name,
        "ignored": pool.ignored,
        "servers": len(pool.backends),
        "available": sums.available,
        "states": sums.states,
        "active": sums.active,
        "total": sums.total,
        "per_second": None if sums.per_second is None else round(sums.per_second, 3),
        "failed_connects": sums.failed_connects,
        "kept_connections": survey.stats.kept_connections.get(pool.name, 0),
        "failing_sources": [
            {"source": source, "error": shortened(error, REASON_LENGTH)} for source, error in failing[:SOURCES_NAMED]
        ],
        "worst": None if worst is None else {"name": worst.name, **_short(worst)},
    }
    if found.of == "servers":
        document["shown"] = [
            {"name": each.name, **server_document(balancer, survey.stats, pool.name, each), **_short(each)}
            for each in backends
        ]
    return document


def _short(backend: Backend) -> dict[str, object]:
    return {"state": backend.state, "reason": shortened(backend.health.reason, REASON_LENGTH)}
