"""What happened in each pool in the last hour, sampled beside the traffic: :class:`History`."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from typing import NoReturn, TypeAlias

import trio

from lb.admin.pool_history import STEP, NotedChange, PoolHistory, slot_at
from lb.admin.utc_text import utc_text
from lb.control.balancer import Balancer
from lb.dataplane.stats import StatsSnapshot
from lb.events import BackendAdvised, BackendEjected, BackendOverridden, BackendRestored, Event
from lb.model.printable import shortened
from lb.net.cooperate import done_in_turns
from lb.pools.pool import Pool

__all__ = ["History"]

MAX_REASON = 300
"""Maximum characters of the reason of a change, as in the event stream."""

ByServer: TypeAlias = Mapping[tuple[str, str], int]
"""Counters by pool and server."""
BackendEvent: TypeAlias = BackendEjected | BackendRestored | BackendOverridden | BackendAdvised
"""An event that is a change of a server."""
BACKEND_EVENTS = (BackendEjected, BackendRestored, BackendOverridden, BackendAdvised)
"""The same: a tuple takes half the time, and each connection's record is asked."""


class History:
    """The histories of all pools, and an observer that notes the changes of servers.

    ``state_of(pool, server)`` returns a server's state at that moment; None if the pools have no such server.
    """

    def __init__(self, state_of: Callable[[str, str], str | None]) -> None:
        self._sampled_at: float | None = None
        self._until: float | None = None
        """The same in seconds since 1970."""
        self._state_of = state_of
        self._pools: dict[str, PoolHistory] = {}
        self._leased: ByServer = {}
        self._failed: ByServer = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, BACKEND_EVENTS):
            self.note(event, time.time())

    def note(self, event: BackendEvent, at: float) -> None:
        """Note a change of a server, at so many seconds since 1970."""
        state = self._state_of(event.pool, event.server)
        if state is not None:
            change = NotedChange(at, event.server, state, shortened(_reason(event), MAX_REASON))
            self._pools.setdefault(event.pool, PoolHistory()).changes.append(change)

    async def run(self, balancer: Balancer) -> NoReturn:
        """Take a sample at each step."""
        while True:
            now = trio.current_time()
            if self._sampled_at is None or slot_at(self._sampled_at) < slot_at(now):
                stats = await balancer.data_plane.stats()
                await done_in_turns(self.sample(trio.current_time(), time.time(), balancer.shown_pools, stats))
            await trio.sleep_until((slot_at(now) + 1) * STEP)

    def sample(
        self, now: float, at: float, pools: Mapping[str, Pool], stats: StatsSnapshot
    ) -> Generator[None, None, None]:
        """Take a point of each pool, in steps between which traffic may be served. Forgets all other pools.

        ``at`` is ``now`` in seconds since 1970.
        """
        self._pools = {name: known for name, known in self._pools.items() if name in pools}
        leased = yield from _growth(self._leased, stats.leased)
        failed = yield from _growth(self._failed, stats.figures.failed_connects)
        seconds = math.nan if self._sampled_at is None else now - self._sampled_at
        for name, pool in pools.items():
            servers = yield from _servers(pool)
            rates = {"per_second": leased[name] / seconds, "failed_per_second": failed[name] / seconds}
            self._pools.setdefault(name, PoolHistory()).put(slot_at(now), {**servers, **rates})
        self._leased, self._failed = stats.leased, stats.figures.failed_connects
        self._sampled_at, self._until = now, at

    def document(self, pool: str) -> dict[str, object]:
        """Return what ``GET /api/v1/pools/POOL/history`` answers."""
        known = self._pools.get(pool) or PoolHistory()
        return {
            "step": STEP,
            "until": None if self._until is None else utc_text(self._until),
            "points": known.points(slot_at(self._sampled_at or 0)),
            "changes": [
                {"timestamp": utc_text(each.at), "server": each.server, "state": each.state, "reason": each.reason}
                for each in known.changes
            ],
        }


def _growth(before: ByServer, after: ByServer) -> Generator[None, None, Counter[str]]:
    """Return by how much counters have grown, by pool. A server that has gone, or came back, takes nothing away."""
    growth: Counter[str] = Counter()
    for place, count in after.items():
        known = before.get(place, 0)
        growth[place[0]] += count - known if count >= known else count
        yield
    return growth


def _servers(pool: Pool) -> Generator[None, None, dict[str, float]]:
    """Return the servers of a pool by state, and their open connections."""
    states: Counter[str] = Counter()
    active = 0
    for backend in list(pool.backends.values()):
        states[backend.state] += 1
        active += backend.active
        yield
    up, draining = states["up"], states["draining"]
    return {"up": up, "down": states.total() - up - draining, "draining": draining, "active": active}


def _reason(event: BackendEvent) -> str:
    match event:
        case BackendEjected(reason=reason):
            return reason
        case BackendOverridden(drained=True):
            return "drained by an operator"
        case BackendOverridden(weight=weight):
            return f"enabled by an operator, weight {weight}"
        case BackendAdvised(share=share, admin=admin):
            return f"its agent check says {admin}, {share} %"
        case _:
            return ""
