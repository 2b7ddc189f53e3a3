"""The status document, built in short turns beside the traffic."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

import attrs
import trio

from lb.admin.caches import caches_of
from lb.admin.recent_requests import RecentRequests, http_listeners
from lb.admin.request_status import requests_of
from lb.admin.streams import streams_of
from lb.admin.utc_text import utc_text
from lb.announce.announcer import Announcer
from lb.control.balancer import Balancer
from lb.dataplane.forwarded import Forwarded
from lb.dataplane.stats import Connects, Counters, StatsSnapshot
from lb.model import ForwardSettings, ListenerSpec
from lb.model.stream_status import MediaSnapshot
from lb.model.top_keys import TopKeys
from lb.net.cooperate import in_turns
from lb.pools.backend import Backend
from lb.pools.pool import Pool

__all__ = [
    "announce_status",
    "ended",
    "forward_document",
    "listener_document",
    "requests_by_listener",
    "server_document",
    "status",
]

MOST_TARGETS = 20
"""Targets of a forward proxy that are listed."""


async def status(
    balancer: Balancer, stats: StatsSnapshot, media: MediaSnapshot, recent: RecentRequests
) -> dict[str, object]:
    """Return the document of ``GET /api/v1/status``."""
    return {
        "listeners": await _listeners(balancer, stats, recent),
        "pools": await _pools(balancer, stats),
        "caches": caches_of(balancer.config.caches, stats, recent.oldest_caches),
        "streams": streams_of(balancer.config.media, stats, media),
        "media": dict(media.answered),
        "ended": await ended(stats.figures),
        "bytes_in": stats.figures.bytes_in,
        "bytes_out": stats.figures.bytes_out,
        "timestamp": utc_text(time.time()),
    }


async def _listeners(balancer: Balancer, stats: StatsSnapshot, recent: RecentRequests) -> dict[str, object]:
    requests = await requests_by_listener(http_listeners(balancer), stats, recent)
    return {
        name: {
            **listener_document(balancer, stats, name),
            **({"requests": requests[name]} if name in requests else {}),
            **_forward(balancer.config.listeners[name], stats.figures),
        }
        for name in balancer.bound
    }


def listener_document(balancer: Balancer, stats: StatsSnapshot, name: str) -> dict[str, object]:
    """Return what every listener has."""
    return {
        "bind": balancer.bound_of(name),
        "pool": next(iter(balancer.config.listeners[name].settings.pools), None),
        "active": balancer.data_plane.active(name),
        "total": stats.accepted.get(name, 0),
    }


async def requests_by_listener(
    names: Iterable[str], stats: StatsSnapshot, recent: RecentRequests
) -> dict[str, dict[str, object]]:
    """Return the requests of these listeners, in all and in the last minute."""
    now, counted = trio.current_time(), stats.figures.requests
    began, before = recent.oldest(now, counted)
    return await requests_of(names, counted, before, now - began)


def _forward(spec: ListenerSpec, figures: Counters) -> dict[str, object]:
    if not isinstance(spec.settings, ForwardSettings):
        return {}
    return {"forward": forward_document(figures.forwarded.get(spec.name, Forwarded()), MOST_TARGETS)}


def forward_document(forwarded: Forwarded, most: int) -> dict[str, object]:
    """Return what a forward proxy was asked for, with at most so many targets."""
    results: dict[str, dict[str, int]] = {}
    for (protocol, result), count in forwarded.results.items():
        results.setdefault(protocol, {})[result] = count
    return {"results": results, "top": _targets(forwarded.top, most), "failed": _targets(forwarded.failed, most)}


def _targets(counts: TopKeys, most: int) -> list[dict[str, object]]:
    found = counts.largest(most)
    return [{"target": target.decode(errors="replace"), "count": count} for target, count in found.items()]


async def _pools(balancer: Balancer, stats: StatsSnapshot) -> dict[str, object]:
    figures = stats.figures
    pools: dict[str, object] = {}
    async for name, pool in in_turns(balancer.shown_pools.items()):
        servers: dict[str, object] = {}
        available = 0
        async for backend in in_turns(list(pool.backends.values())):
            servers[backend.name] = server_document(balancer, stats, name, backend)
            available += backend.available
        connects = figures.connects.get(name, Connects())
        pools[name] = {
            "strategy": pool.spec.strategy.name,
            "ignored": pool.ignored,
            "available": available,
            "connects": sum(connects.buckets),
            "connect_seconds": round(connects.seconds, 6),
            "retries": connects.retries + figures.request_retries.get(name, 0),
            "kept_connections": stats.kept_connections.get(name, 0),
            "sources": _sources(balancer, pool),
            "servers": servers,
        }
    return pools


def _sources(balancer: Balancer, pool: Pool) -> list[dict[str, object]]:
    """Return where servers of a pool are looked for, and what was found."""
    return [
        {
            "source": key.text,
            "servers": len(known.servers),
            "from": known.origin or "none",
            "error": known.error or None,
            "since": _utc_at(known.since),
        }
        for key, known in balancer.sources(pool.spec).items()
    ]


def announce_status(announcer: Announcer) -> dict[str, object] | None:
    """Return what is announced; None without ``[announce]``."""
    spec = announcer.spec
    if spec is None:
        return None
    addresses = [str(address) for address in spec.addresses]
    return {
        "addresses": addresses,
        "interface": spec.interface,
        "up": announcer.up,
        "since": utc_text(announcer.since),
    }


async def ended(figures: Counters) -> dict[str, int]:
    """Count finished connections per reason, most frequent first."""
    counts: Counter[str] = Counter()
    async for (_, _, _, reason), count in in_turns(list(figures.connections.items())):
        counts[reason] += count
    return dict(counts.most_common())


def server_document(balancer: Balancer, stats: StatsSnapshot, pool: str, backend: Backend) -> dict[str, object]:
    """Return what a server of the status has."""
    place = (pool, backend.name)
    override = balancer.overrides.get(place)
    checked_by = balancer.sharing.checked_by(place)
    health = backend.health
    check = backend.last_check
    return {
        "address": backend.spec.address.text,
        "state": backend.state,
        "reason": health.reason,
        "weight": backend.spec.effective_weight,
        "backup": backend.spec.backup,
        "active": backend.active,
        "total": stats.leased.get(place, 0),
        "failed_connects": backend.failed_connects,
        "max_connections": backend.spec.max_connections,
        "last_change": _utc_at(backend.since),
        "last_check": None if check is None else {"ok": check.passed, "detail": check.detail, "ms": round(check.ms, 3)},
        "history": [1 if passed else 0 for passed in backend.history],
        "override": None if override is None else attrs.asdict(override),
        **({} if checked_by is None else {"checked_by": checked_by}),
    }


def _utc_at(moment: float) -> str:
    """Format a reading of trio's clock."""
    return utc_text(time.time() - (trio.current_time() - moment))
