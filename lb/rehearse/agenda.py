"""What is to happen, in a time that passes only when nothing is left to be done."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import trio

__all__ = ["Agenda"]


class Agenda(trio.abc.Clock, trio.abc.Instrument):
    """A clock for trio, and plain calls at points of its time, many more than trio could have tasks for.

    Time stands still while any task can go on, then it is at once the time that the next one waits for. One task makes
    the calls, one after the other, and puts the clock forward from one to the next. It gives way as soon as another
    task is due, or one of the calls has made a task go on: so everything happens in the order of time.
    To be the clock and an instrument of the same ``trio.run``.
    """

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds from the start. Others only read it."""
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._over = False
        self._stirred = False
        """A task has become able to go on."""

    # As trio's clock

    def start_clock(self) -> None:
        """There is nothing to start."""

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """trio asks when no task can go on: until then nothing happens, so it is then now."""
        if math.isinf(deadline):
            return deadline
        self.now = max(self.now, deadline)
        return 0.0

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - whichever it is
        self._stirred = True

    # As an agenda

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Call it then; of those at the same time, the one asked for first comes first."""
        heapq.heappush(self._heap, (when, next(self._numbers), call))

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Call it in so many seconds."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._numbers), call))

    async def run(self, until: float) -> None:
        """Make all calls up to this time."""
        self.at(until, self._end)
        while not self._over:
            await trio.sleep_until(self._heap[0][0])
            self._stirred = False
            self._make_calls(self.now + trio.lowlevel.current_statistics().seconds_to_next_deadline)

    def _make_calls(self, until: float) -> None:
        """Those before another task is due."""
        heap = self._heap
        while not (self._stirred or self._over) and heap[0][0] < until:
            self.now, _, call = heapq.heappop(heap)
            call()

    def _end(self) -> None:
        self._over = True
