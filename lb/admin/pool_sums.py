"""What the servers of a pool add up to: all that the overview tells of a pool that is not looked into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Mapping

import attrs

from lb.pools.backend import Backend, BackendState
from lb.pools.pool import Pool

__all__ = ["SERVERS_A_STEP", "WORST_FIRST", "PoolSums", "sum_pools"]

WORST_FIRST: Mapping[BackendState, int] = {"down": 0, "ejected": 1, "checking": 2, "draining": 3, "up": 4}
"""The places of the states when servers are sorted by them."""
SERVERS_A_STEP = 50
"""Servers looked at between two pauses: a tenth of a millisecond."""


@attrs.frozen
class PoolSums:
    """The sums over the servers of a pool, at one moment."""

    pool: Pool
    states: Mapping[BackendState, int]
    """Servers by state; a state without any may be missing."""
    available: int
    active: int
    total: int
    """Acquired leases since the start."""
    failed_connects: int
    not_up: tuple[Backend, ...]
    """The servers whose state is not ``up``, in the order of the configuration."""
    failing: bool
    """Look-ups of its servers fail."""
    per_second: float | None
    """Acquired leases per second in the last seconds; None if nobody has counted before."""

    @property
    def rank(self) -> tuple[int, int]:
        """How well the pool is: the lower, the worse. Drained servers alone change it only if none is left."""
        failed = self.states.get("down", 0) + self.states.get("ejected", 0)
        if not self.available:
            return 0, -failed
        return 1 if failed or self.failing else 2, -failed

    @property
    def worst(self) -> Backend | None:
        """The first server in the worst state; None if all are up."""
        return min(self.not_up, key=lambda backend: WORST_FIRST[backend.state], default=None)


def sum_pools(
    pools: Mapping[str, Pool],
    failing: Collection[str],
    leased: Mapping[tuple[str, str], int],
    before: Mapping[str, int],
    seconds: float,
) -> Generator[None, None, dict[str, PoolSums]]:
    """Return the sums of each pool, in steps between which traffic may be served.

    ``failing`` are the pools whose servers cannot be looked up. ``leased`` has the acquired leases by pool and server,
    ``before`` those by pool, as they were so many ``seconds`` ago.
    """
    sums = {}
    for name, pool in pools.items():
        states: Counter[BackendState] = Counter()
        available = active = total = failed = 0
        not_up = []
        for number, backend in enumerate(list(pool.backends.values())):
            state = backend.state
            states[state] += 1
            available += backend.available
            active += backend.active
            total += leased.get((name, backend.name), 0)
            failed += backend.failed_connects
            if state != "up":
                not_up.append(backend)
            if number % SERVERS_A_STEP == 0:
                yield
        rate = max(0, total - before[name]) / seconds if name in before and seconds > 0 else None
        sums[name] = PoolSums(pool, states, available, active, total, failed, tuple(not_up), name in failing, rate)
    return sums
