"""Query all workers and combine their answers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from operator import attrgetter

import trio

from lb.dataplane.stats import StatsSnapshot
from lb.model.connection import ConnectionFilter, LiveConnection
from lb.model.purge import Purge, Purged, StoredResponse
from lb.model.timing import Timings, add_up
from lb.net.channel import encode
from lb.workers.messages import LookUp, PurgedByAll, PurgeKeys, Query
from lb.workers.process import WorkerProcess
from lb.workers.purges import purge_order

__all__ = ["Queries"]

QUERY_TIMEOUT = 2.0
"""Seconds to wait for a worker. A worker without an answer hangs, is left out, and will be replaced."""


class Queries:
    """Sends queries to the serving workers. Keeps the last statistics of ended workers."""

    def __init__(self, serving: Mapping[int, WorkerProcess]) -> None:
        self._serving = serving
        self._last: dict[WorkerProcess, StatsSnapshot] = {}
        self._gone = StatsSnapshot()

    def worker_ended(self, worker: WorkerProcess) -> None:
        """Keep the last statistics of an ended worker in the totals."""
        last = self._last.pop(worker, None)
        if last is not None:
            self._gone.add(last.totals())

    async def stats(self) -> StatsSnapshot:
        for worker, stats in (await self._ask(Query("stats", ConnectionFilter()))).items():
            if isinstance(stats, StatsSnapshot) and not worker.ended:
                self._last[worker] = stats
        return StatsSnapshot.sum([self._gone, *self._last.values()])

    async def timings(self, pool: str) -> Timings:
        """Return the sum over the workers that answer in time. Measurements of ended workers are lost."""
        total: Timings = {}
        for timings in (await self._ask(Query("timings", ConnectionFilter(pool=pool)))).values():
            if isinstance(timings, dict):
                add_up(total, timings)
        return total

    async def live(self, only: ConnectionFilter) -> list[LiveConnection]:
        found: Iterable[object] = (await self._ask(Query("live", only))).values()
        by_worker = [each for each in found if isinstance(each, list)]
        return list(heapq.merge(*by_worker, key=attrgetter("id")))[: only.most]

    async def cut(self, only: ConnectionFilter) -> int:
        return sum(count for count in (await self._ask(Query("cut", only))).values() if isinstance(count, int))

    async def stored(self, zone: str, key: bytes) -> list[StoredResponse]:
        """Return what the workers that answer in time have; of the same response, the one that is fresh for longer."""
        found: dict[bytes, StoredResponse] = {}
        for answer in (await self._ask(LookUp(zone, key))).values():
            for each in answer if isinstance(answer, list) else ():
                if each.name not in found or each.fresh_for > found[each.name].fresh_for:
                    found[each.name] = each
        return [*found.values()]

    async def purge(self, zone: str, what: Purge) -> int:
        (purged,) = await self.purge_all(purge_order(what)(((zone, what),)))
        return purged.count

    async def purge_all(self, order: PurgeKeys, asks: int | None = None) -> tuple[Purged, ...]:
        """Give an order to all workers but the one that ``asks``, and add up their answers.

        Waits for all: a worker that does not answer is replaced, and its memory with it.
        """
        workers = [worker for index, worker in self._serving.items() if index != asks]
        message, finished = encode(order), encode(PurgedByAll())
        replies = [worker.order(type(order), message) for worker in workers]
        total = [Purged()] * len(order.purges)
        for reply in replies:
            if not await reply.wait() and isinstance(reply.content, tuple):
                total = [ours.plus(theirs) for ours, theirs in zip(total, reply.content, strict=True)]
        for worker in workers:
            worker.send(finished)
        return tuple(total)

    async def _ask(self, query: Query | LookUp) -> dict[WorkerProcess, object]:
        """Send a query. Returns the answers of the workers that reply in time."""
        message = encode(query)
        asked = [(worker, worker.order(type(query), message)) for worker in self._serving.values()]
        answers = {}
        with trio.move_on_after(QUERY_TIMEOUT):
            for worker, answer in asked:
                await answer.wait()
                answers[worker] = answer.content
        return answers
