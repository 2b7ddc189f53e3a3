"""How it stands: the document that the status is, made in short turns beside the traffic."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs
import trio

from lb.backend import Backend
from lb.figures import Connects, Figures, Survey
from lb.overrides import Override
from lb.server import Balancer
from lb.turns import in_turns

__all__ = ["ready", "status"]


async def status(balancer: Balancer, survey: Survey) -> dict[str, object]:
    """What ``GET /api/v1/status`` says."""
    carrier = balancer.carrier
    pools: dict[str, dict[str, object]] = {}
    for name, pool in list(balancer.pools.items()):
        servers: dict[str, object] = {}
        async for backend in in_turns(list(pool.backends.values())):
            place = (name, backend.name)
            said = balancer.overrides.get(place)
            servers[backend.name] = _server(backend, survey.leased.get(place, 0), said)
        connects = survey.figures.connects.get(name, Connects())
        pools[name] = {
            "strategy": pool.spec.strategy.name,
            "available": _available(pool.backends),
            "connects": sum(connects.buckets),
            "connect_seconds": round(connects.seconds, 6),
            "retries": connects.retries,
            "servers": servers,
        }
    return {
        "listeners": {
            name: {
                "bind": [bind for binds in addresses.values() for bind in binds],
                "pool": balancer.config.listeners[name].pool,
                "active": carrier.active(name),
                "total": survey.accepted.get(name, 0),
            }
            for name, addresses in balancer.bound.items()
        },
        "pools": pools,
        "ended": _ended(survey.figures),
        "bytes_in": survey.figures.bytes_in,
        "bytes_out": survey.figures.bytes_out,
        "timestamp": _iso(time.time()),
    }


def _ended(figures: Figures) -> dict[str, int]:
    """Finished connections by reason, the most frequent first."""
    counts: Counter[str] = Counter()
    for (_, _, _, reason), count in figures.connections.items():
        counts[reason] += count
    return dict(counts.most_common())


def ready(balancer: Balancer) -> list[str]:
    """The pools that have no available server; none is as it should be."""
    return [name for name, pool in balancer.pools.items() if not _available(pool.backends)]


def _available(backends: Mapping[str, Backend]) -> int:
    return sum(backend.available for backend in backends.values())


def _server(backend: Backend, total: int, said: Override | None) -> dict[str, object]:
    health = backend.health
    check = backend.last_check
    return {
        "address": backend.spec.address.text,
        "state": backend.state,
        "reason": health.reason,
        "weight": backend.spec.weight,
        "backup": backend.spec.backup,
        "active": backend.active,
        "total": total,
        "failed_connects": backend.failed_connects,
        "max_connections": backend.spec.max_connections,
        "last_change": _iso(time.time() - (trio.current_time() - backend.since)),
        "last_check": None if check is None else {"ok": check.passed, "detail": check.detail, "ms": round(check.ms, 3)},
        "history": [1 if passed else 0 for passed in backend.history],
        "override": None if said is None else attrs.asdict(said),
    }


def _iso(seconds: float) -> str:
    """Seconds since 1970 in ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
