"""Outlier detection: a task in each configured pool that ejects servers much slower than the others."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from lb.dataplane.plane import DataPlane
from lb.events import BackendSlow, Sink
from lb.model import OutlierSpec
from lb.model.timing import Timings
from lb.pools.outlier_detection import ejections_left, judge
from lb.pools.pool import Pool

__all__ = ["Outliers"]


class Outliers:
    """Runs one task per pool in the caller's nursery. The data plane provides the measurements."""

    def __init__(self, nursery: trio.Nursery, sink: Sink, data_plane: DataPlane) -> None:
        self._nursery = nursery
        self._sink = sink
        self._data_plane = data_plane
        self._watched: dict[Pool, tuple[OutlierSpec, trio.CancelScope]] = {}

    def keep(self, pools: Mapping[str, Pool]) -> None:
        """After each change of the configuration, start and stop tasks to match ``pools``."""
        wanted = {pool: pool.spec.outlier for pool in pools.values() if pool.spec.outlier is not None}
        for pool, (spec, scope) in list(self._watched.items()):
            if wanted.get(pool) != spec:
                scope.cancel()
                del self._watched[pool]
        for pool, spec in wanted.items():
            if pool not in self._watched:
                self._watched[pool] = (spec, scope := trio.CancelScope())
                self._nursery.start_soon(self._watch, pool, spec, scope)

    async def _watch(self, pool: Pool, spec: OutlierSpec, scope: trio.CancelScope) -> None:
        slow: set[str] = set()
        with scope:
            while True:
                await trio.sleep(spec.interval)
                slow = self._judge(pool, spec, await self._data_plane.timings(pool.name), slow)

    def _judge(self, pool: Pool, spec: OutlierSpec, timings: Timings, slow_before: set[str]) -> set[str]:
        """Eject slow servers or, in a dry run, report those not reported last time. Returns their names."""
        serving = {server for server, backend in pool.backends.items() if backend.health.serving}
        measured = {server: spreads for server, spreads in timings.items() if server in serving}
        verdicts = judge(measured, spec, ejections_left(pool.backends.values(), spec))
        for verdict in verdicts:
            backend = pool.backends[verdict.server]
            if not spec.dry_run:
                now = trio.current_time()
                pool.note(backend, backend.health.slow(verdict.reason, spec.eject_for, now), now)
            elif verdict.server not in slow_before:
                self._sink(BackendSlow(pool.name, verdict.server, verdict.reason))
        return {verdict.server for verdict in verdicts}
