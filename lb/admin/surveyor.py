"""One look at all servers for everybody who has the dashboard open: :class:`Surveyor`."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping

import attrs
import trio

from lb.admin.pool_sums import PoolSums, sum_pools
from lb.admin.streams import figures_of
from lb.control.balancer import Balancer
from lb.dataplane.stats import StatsSnapshot
from lb.model.stream_status import MediaSnapshot
from lb.net.cooperate import done_in_turns
from lb.pools.pool import Pool

__all__ = ["Survey", "Surveyor"]

FRESH = 0.5
"""Seconds that a survey is good for if no event was emitted meanwhile."""
CORE_SHARE = 0.04
"""Share of a core that surveys may take, however many ask."""
LONGEST_REST = 1.0
"""Maximum seconds between two surveys while somebody waits. A guess: above, a page looks as if it hung."""
RATE_SPAN = 5.0
"""Seconds over which rates are measured, at least; less if nobody has asked so long ago."""
RATE_OLDEST = 60.0
"""Seconds after which counts are too old to compare with."""


@attrs.frozen
class Survey:
    """What the balancer has at one moment."""

    began: float
    events: int
    """Number of the last event before it."""
    stats: StatsSnapshot
    media: MediaSnapshot
    pools: Mapping[str, PoolSums]
    """By name."""


class Surveyor:
    """Takes surveys. Those who ask at the same time share one."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._lock = trio.Lock()
        self._last: Survey | None = None
        self._rested = -math.inf
        """When the next survey may begin."""
        self._counts: deque[tuple[float, dict[str, int]]] = deque()
        """Acquired leases by pool, at earlier surveys; the oldest first."""

    async def survey(self, events: int) -> Survey:
        """Return a survey that knows of all events up to this number."""
        asked = trio.current_time()
        async with self._lock:
            last = self._last
            if last is None or not (last.began >= asked or (last.events >= events and asked - last.began < FRESH)):
                await trio.sleep_until(self._rested)
                last = self._last = await self._take(events)
            return last

    async def _take(self, events: int) -> Survey:
        began, started = trio.current_time(), time.thread_time()
        stats, media = await figures_of(self._balancer)
        since, before = self._before(began)
        shown = self._balancer.shown_pools
        failing = {name for name, pool in shown.items() if self._fails(pool)}
        pools = await done_in_turns(sum_pools(shown, failing, stats.leased, before, began - since))
        self._counts.append((began, {name: sums.total for name, sums in pools.items()}))
        spent = time.thread_time() - started  # with that of the traffic between the turns: it has precedence
        self._rested = trio.current_time() + min(spent / CORE_SHARE - spent, LONGEST_REST)
        return Survey(began, events, stats, media, pools)

    def _fails(self, pool: Pool) -> bool:
        return any(known.errors for known in self._balancer.sources(pool.spec).values())

    def _before(self, now: float) -> tuple[float, Mapping[str, int]]:
        """Return the counts with which those of now are compared, and their time. Forgets older ones."""
        while len(self._counts) > 1 and self._counts[1][0] <= now - RATE_SPAN:
            self._counts.popleft()
        while self._counts and self._counts[0][0] < now - RATE_OLDEST:
            self._counts.popleft()
        return self._counts[0] if self._counts else (now, {})
