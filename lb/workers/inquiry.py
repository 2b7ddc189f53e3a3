"""Questions to all workers, and one answer for all of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from operator import attrgetter

import trio

from lb.figures import LiveConnection, Survey, Wanted
from lb.timing import Timings, add_up
from lb.workers.channel import encode
from lb.workers.messages import Ask
from lb.workers.process import WorkerProcess

__all__ = ["Inquiry"]

PATIENCE = 2.0
"""Seconds until a worker is left out that does not answer: it hangs, and will be replaced."""


class Inquiry:
    """What the workers know, and what those knew who are gone."""

    def __init__(self, serving: Mapping[int, WorkerProcess]) -> None:
        self._serving = serving
        self._last: dict[WorkerProcess, Survey] = {}
        self._gone = Survey()

    def buried(self, worker: WorkerProcess) -> None:
        """What it said last goes on to count."""
        last = self._last.pop(worker, None)
        if last is not None:
            self._gone.add(last)

    async def survey(self) -> Survey:
        for worker, survey in (await self._ask(Ask("survey", Wanted()))).items():
            if isinstance(survey, Survey) and not worker.ended:
                self._last[worker] = survey
        return Survey.sum([self._gone, *self._last.values()])

    async def timings(self, pool: str) -> Timings:
        """Of those that answer in time. What was measured by a worker that is gone is gone."""
        total: Timings = {}
        for timings in (await self._ask(Ask("timings", Wanted(pool=pool)))).values():
            if isinstance(timings, dict):
                add_up(total, timings)
        return total

    async def live(self, wanted: Wanted) -> list[LiveConnection]:
        found: Iterable[object] = (await self._ask(Ask("live", wanted))).values()
        by_worker = [each for each in found if isinstance(each, list)]
        return list(heapq.merge(*by_worker, key=attrgetter("id")))[: wanted.most]

    async def cut(self, wanted: Wanted) -> int:
        return sum(count for count in (await self._ask(Ask("cut", wanted))).values() if isinstance(count, int))

    async def _ask(self, question: Ask) -> dict[WorkerProcess, object]:
        """What each worker says that says something in time."""
        message = encode(question)
        asked = [(worker, worker.order(Ask, message)) for worker in self._serving.values()]
        answers = {}
        with trio.move_on_after(PATIENCE):
            for worker, answer in asked:
                await answer.wait()
                answers[worker] = answer.content
        return answers
