"""Makes the health checks of all servers: one schedule, one task, and a limit of checks at a time."""

from __future__ import annotations

import math
import sys
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING, NoReturn

import trio

from healthcheck.check import Checks
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.result import CheckResult
from healthcheck.schedule import first_delay, next_start, soon
from healthcheck.task_runner import TaskRunner

if TYPE_CHECKING:
    from healthcheck.epoll_runner import EpollRunner

__all__ = ["Checker"]

MOST_IN_FLIGHT = 512
"""Maximum checks at a time. More servers than that must hang, or be slow, before a check waits for another."""
MOST_STARTS = 16
"""Maximum servers whose checks start before other tasks run: about a millisecond."""
LATE = 1.0
"""Seconds from which a check that waits for others counts as late."""
TOGETHER = 0.02
"""Seconds that a check may start early, with another one: a wake-up costs as much as two checks."""


class Checker:
    """Makes checks while :meth:`run` runs. ``rng`` spreads them.

    Probes that are conversations run in an epoll of their own if ``epoll``, all others in tasks. An exception of a
    probe only ends its check; one of ``report`` propagates.
    """

    def __init__(self, rng: Random, *, epoll: bool = sys.platform == "linux") -> None:
        self._rng = rng
        self._may_epoll = epoll
        self._heap: list[tuple[float, int, Checks]] = []
        """The next starts, by time. An entry is stale if its time is not the ``due`` of its server."""
        self._entries = count()
        self._wait = trio.CancelScope()
        self._asleep_until = -math.inf
        """When the sleep ends, if one is in progress."""
        self._tasks: TaskRunner
        self._epoll: EpollRunner | None = None
        self._more = False
        """There may be more to look at, at once."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Check until cancelled. Servers can be added from ``started`` on."""
        async with trio.open_nursery() as nursery:
            self._tasks = TaskRunner(nursery, self._wake_at)
            task_status.started()
            try:
                await self._take_turns()
            finally:
                if self._epoll is not None:
                    self._epoll.close()
        raise AssertionError("unreachable")

    async def _take_turns(self) -> NoReturn:
        while True:
            late = await self._sleep()
            if self._epoll is None:
                self._start_due()
                continue
            self._more = self._epoll.look(late)
            if self._start_due():
                self._more |= self._epoll.look()  # a server on this host has often accepted already

    def add(self, checks: Checks) -> None:
        """Check a server from now on."""
        checks.finished = self._finished
        for check in checks.each:
            check.by_epoll = self._may_epoll and isinstance(check.probe, ConversationProbe) and check.probe.is_plain
            if check.by_epoll and self._epoll is None:
                from healthcheck.epoll_runner import EpollRunner  # noqa: PLC0415 - exists on Linux only

                self._epoll = EpollRunner()
        target = checks.each[0].target
        delay = first_delay(f"{target.pool}/{target.server}", checks.interval(), self._rng)
        self._schedule(checks, trio.current_time() + delay)

    def remove(self, checks: Checks) -> None:
        """Stop checking a server. A check in progress ends without a result."""
        checks.end()

    def hurry(self, checks: Checks) -> None:
        """Start the next check within the fast interval, as a passive health check ejected the server."""
        start = soon(trio.current_time(), checks.spec.fast_interval, self._rng)
        if start < checks.due < math.inf:
            self._schedule(checks, start)

    def late(self, now: float) -> tuple[int, float]:
        """Return how many checks wait since more than a second for others to end, and the longest wait in seconds."""
        waits = [now - due for due, _, checks in self._heap if due == checks.due and now - due > LATE]
        return len(waits), max(waits, default=0.0)

    async def _sleep(self) -> float:
        """Sleep until there is something to do. Return how many seconds too late this returns."""
        before = trio.current_time()
        self._asleep_until = before if self._more else self._next_turn()
        with trio.CancelScope(deadline=self._asleep_until) as self._wait:
            if self._epoll is None:
                await trio.sleep_forever()
            else:
                await self._epoll.readable()
        until, self._asleep_until = self._asleep_until, -math.inf
        return max(0.0, trio.current_time() - max(before, until))

    def _next_turn(self) -> float:
        start = self._heap[0][0] if self._heap and self._has_room else math.inf
        return start if self._epoll is None else min(start, self._epoll.next_look)

    def _wake_at(self, time: float) -> None:
        if time < self._asleep_until:
            self._wait.deadline = self._asleep_until = time

    @property
    def _has_room(self) -> bool:
        return self._tasks.in_flight + (0 if self._epoll is None else self._epoll.in_flight) < MOST_IN_FLIGHT

    def _schedule(self, checks: Checks, start: float) -> None:
        checks.due = start
        heappush(self._heap, (start, next(self._entries), checks))
        self._wake_at(start)

    def _start_due(self) -> bool:
        """Start the checks that are due, and those that will be soon. Return True if any started."""
        now = trio.current_time()
        if not self._heap or self._heap[0][0] > now:
            return False
        until = now + (0 if self._epoll is None else TOGETHER)
        for _ in range(MOST_STARTS):
            if not self._heap or self._heap[0][0] > until or not self._has_room:
                break
            due, _, checks = heappop(self._heap)
            if due == checks.due:
                checks.started = max(now, due)
                checks.due = math.inf
                self._start(checks, now)
        return True

    def _start(self, checks: Checks, now: float) -> None:
        for check in checks.each:
            if self._epoll is not None and check.by_epoll:
                self._epoll.start(check, now)
            else:
                self._tasks.start(check, now)

    def _finished(self, checks: Checks, result: CheckResult | None) -> None:
        checks.report(result)
        interval = checks.spec.fast_interval if result is None else checks.interval()
        self._schedule(checks, next_start(checks.started, interval, self._rng))
