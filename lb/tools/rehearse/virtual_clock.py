"""Virtual time, which advances only when no task is runnable, and a schedule of calls."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import trio

__all__ = ["VirtualClock"]


class VirtualClock(trio.abc.Clock, trio.abc.Instrument):
    """A clock for trio with a schedule of plain calls, many more than trio could handle as tasks.

    Time stands still while a task is runnable, then jumps to the next deadline. One task makes the scheduled calls in
    order and advances the clock from one to the next. It yields when another task is due, or when a call has made a
    task runnable: so everything happens in order of time.
    Pass it as clock and as instrument to the same ``trio.run``.
    """

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds from the start. Read-only for others."""
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._over = False
        self._task_runnable = False
        """A task has become runnable."""

    # Clock and instrument of trio

    def start_clock(self) -> None:
        """No effect."""

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Advance the time to the deadline: trio calls this when no task is runnable."""
        if math.isinf(deadline):
            return deadline
        self.now = max(self.now, deadline)
        return 0.0

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - any task
        self._task_runnable = True

    # Schedule

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Schedule a call at a time. Calls at the same time run in the order of scheduling."""
        heapq.heappush(self._heap, (when, next(self._numbers), call))

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Schedule a call after some seconds."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._numbers), call))

    async def run(self, until: float) -> None:
        """Run all calls up to this time."""
        self.at(until, self._end)
        while not self._over:
            await trio.sleep_until(self._heap[0][0])
            self._task_runnable = False
            self._make_calls(self.now + trio.lowlevel.current_statistics().seconds_to_next_deadline)

    def _make_calls(self, until: float) -> None:
        """Run the calls before the next task is due."""
        heap = self._heap
        while not (self._task_runnable or self._over) and heap[0][0] < until:
            self.now, _, call = heapq.heappop(heap)
            call()

    def _end(self) -> None:
        self._over = True
