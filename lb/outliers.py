"""The task that looks, in each pool that wants it, for servers that are much slower than the others."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from lb.carrier import Carrier
from lb.events import BackendSlow, Sink
from lb.model import OutlierSpec
from lb.outlier import judge, may_go
from lb.pool import Pool
from lb.timing import Timings

__all__ = ["Outliers"]


class Outliers:
    """One task a pool, in a nursery of the caller's. The carrier knows what was measured."""

    def __init__(self, nursery: trio.Nursery, sink: Sink, carrier: Carrier) -> None:
        self._nursery = nursery
        self._sink = sink
        self._carrier = carrier
        self._looking: dict[Pool, tuple[OutlierSpec, trio.CancelScope]] = {}

    def keep(self, pools: Mapping[str, Pool]) -> None:
        """After each change of the configuration: look at these, as they want it now, and at no others."""
        wanted = {pool: pool.spec.outlier for pool in pools.values() if pool.spec.outlier is not None}
        for pool, (spec, scope) in list(self._looking.items()):
            if wanted.get(pool) != spec:
                scope.cancel()
                del self._looking[pool]
        for pool, spec in wanted.items():
            if pool not in self._looking:
                self._looking[pool] = (spec, scope := trio.CancelScope())
                self._nursery.start_soon(self._look, pool, spec, scope)

    async def _look(self, pool: Pool, spec: OutlierSpec, scope: trio.CancelScope) -> None:
        slow: set[str] = set()
        with scope:
            while True:
                await trio.sleep(spec.interval)
                slow = self._judge(pool, spec, await self._carrier.timings(pool.name), slow)

    def _judge(self, pool: Pool, spec: OutlierSpec, timings: Timings, slow_before: set[str]) -> set[str]:
        """Eject the slow ones, or say who they are, unless it was said the last time. Returns their names."""
        serving = {server for server, backend in pool.backends.items() if backend.health.serving}
        told = {server: spreads for server, spreads in timings.items() if server in serving}
        verdicts = judge(told, spec, may_go(pool.backends.values(), spec))
        for verdict in verdicts:
            backend = pool.backends[verdict.server]
            if not spec.dry_run:
                now = trio.current_time()
                pool.note(backend, backend.health.slow(verdict.reason, spec.eject_for, now), now)
            elif verdict.server not in slow_before:
                self._sink(BackendSlow(pool.name, verdict.server, verdict.reason))
        return {verdict.server for verdict in verdicts}
