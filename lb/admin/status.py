"""The status document, built in short turns beside the traffic."""

from __future__ import annotations

import time
from collections import Counter

import attrs
import trio

from lb.admin.caches import caches_of
from lb.admin.recent_requests import RecentRequests, http_listeners
from lb.admin.request_status import requests_of
from lb.admin.streams import streams_of
from lb.admin.utc_text import utc_text
from lb.announce.announcer import Announcer
from lb.control.balancer import Balancer
from lb.control.overrides import Override
from lb.dataplane.forwarded import Forwarded
from lb.dataplane.stats import Connects, Counters, StatsSnapshot
from lb.model import ForwardSettings, ListenerSpec
from lb.model.stream_status import MediaSnapshot
from lb.model.top_keys import TopKeys
from lb.net.cooperate import in_turns
from lb.pools.backend import Backend
from lb.pools.pool import Pool

__all__ = ["announce_status", "status"]

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
        "ended": _ended(stats.figures),
        "bytes_in": stats.figures.bytes_in,
        "bytes_out": stats.figures.bytes_out,
        "timestamp": utc_text(time.time()),
    }


async def _listeners(balancer: Balancer, stats: StatsSnapshot, recent: RecentRequests) -> dict[str, object]:
    now, counted = trio.current_time(), stats.figures.requests
    began, before = recent.oldest(now, counted)
    requests = await requests_of(http_listeners(balancer), counted, before, now - began)
    return {
        name: {
            "bind": balancer.bound_of(name),
            "pool": next(iter(balancer.config.listeners[name].settings.pools), None),
            "active": balancer.data_plane.active(name),
            "total": stats.accepted.get(name, 0),
            **({"requests": requests[name]} if name in requests else {}),
            **_forward(balancer.config.listeners[name], stats.figures),
        }
        for name in balancer.bound
    }


def _forward(spec: ListenerSpec, figures: Counters) -> dict[str, object]:
    """Return what a forward proxy was asked for; nothing for another listener."""
    if not isinstance(spec.settings, ForwardSettings):
        return {}
    found = figures.forwarded.get(spec.name, Forwarded())
    results: dict[str, dict[str, int]] = {}
    for (protocol, result), count in found.results.items():
        results.setdefault(protocol, {})[result] = count
    return {"forward": {"results": results, "top": _targets(found.top), "failed": _targets(found.failed)}}


def _targets(counts: TopKeys) -> list[dict[str, object]]:
    found = counts.largest(MOST_TARGETS)
    return [{"target": target.decode(errors="replace"), "count": count} for target, count in found.items()]


async def _pools(balancer: Balancer, stats: StatsSnapshot) -> dict[str, object]:
    figures = stats.figures
    pools: dict[str, object] = {}
    for name, pool in balancer.shown_pools.items():
        servers: dict[str, object] = {}
        available = 0
        async for backend in in_turns(list(pool.backends.values())):
            place = (name, backend.name)
            override = balancer.overrides.get(place)
            checked_by = balancer.sharing.checked_by(place)
            servers[backend.name] = _server(backend, stats.leased.get(place, 0), override, checked_by)
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


def _ended(figures: Counters) -> dict[str, int]:
    """Count finished connections per reason, most frequent first."""
    counts: Counter[str] = Counter()
    for (_, _, _, reason), count in figures.connections.items():
        counts[reason] += count
    return dict(counts.most_common())


def _server(backend: Backend, total: int, override: Override | None, checked_by: list[str] | None) -> dict[str, object]:
    health = backend.health
    check = backend.last_check
    return {
        "address": backend.spec.address.text,
        "state": backend.state,
        "reason": health.reason,
        "weight": backend.spec.effective_weight,
        "backup": backend.spec.backup,
        "active": backend.active,
        "total": total,
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
