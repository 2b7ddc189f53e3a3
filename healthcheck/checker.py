"""Makes the health checks of all servers: one schedule, one task, and a limit of checks at a time."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
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
from lb.net.descriptors import open_files_limit

if TYPE_CHECKING:
    from healthcheck.epoll_runner import EpollRunner

__all__ = ["Checker"]

MOST_IN_FLIGHT = 512
"""Maximum checks at a time. More servers than that must hang, or be slow, before a check waits for another."""
SHARE_OF_DESCRIPTORS = 8
"""Checks take at most the 8th part of the process's descriptors: connections get the rest, in planes.py."""
MOST_STARTS = 16
"""Maximum servers whose checks start before other tasks run: about a millisecond."""
LATE = 1.0
"""Seconds from which the start of a check counts as late."""
STREAK_ENDS = 10.0
"""Seconds without a late check after which a streak of them has ended."""
LAG = 0.02
"""Seconds by which this task may be late, if it has seen everything: a turn of a busy process."""
TOGETHER = 0.02
"""Seconds that a check may start early, with another one: a wake-up costs as much as two checks."""


class Checker:
    """Makes checks while :meth:`run` runs. ``rng`` spreads them.

    Probes that are conversations run in an epoll of their own if ``epoll``, all others in tasks. An exception of a
    probe only ends its check; one of ``report`` propagates. If the process has no time for all checks, they start
    late, so the intervals become longer. ``report_late(pool, servers, seconds)`` is called when that begins in a pool,
    with the number of servers whose checks are late, and the most seconds.
    """

    def __init__(
        self, rng: Random, report_late: Callable[[str, int, float], None], *, epoll: bool = sys.platform == "linux"
    ) -> None:
        self.late = 0
        """Checks that started late, in total."""
        self._rng = rng
        self._report_late = report_late
        self._last_late: dict[str, float] = {}
        """When the last late check of a pool started. Without the pools in which a streak has ended."""
        self._most_in_flight = min(MOST_IN_FLIGHT, max(1, open_files_limit() // SHARE_OF_DESCRIPTORS))
        self._seen = -math.inf
        """When this task read the clock last. A stall that began before then is in a lag already."""
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
            self._look(await self._sleep())
            if self._start_due():
                self._look(self._lag())  # a server on this host has often accepted already

    def _look(self, lag: float) -> None:
        """Look as of the reading that the lag ends with: a stall since then is in the next one."""
        self._tasks.look(self._seen, lag)
        if self._epoll is not None:
            self._more = self._epoll.look(self._seen, lag)

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

    def rest(self, checks: Checks) -> None:
        """Make no checks of a server until :meth:`resume`. One in progress comes to its end."""
        checks.resting = True
        checks.due = math.inf
        if not checks.in_progress:
            checks.close_kept()

    def resume(self, checks: Checks) -> None:
        """Check a server again, within an interval: many may resume at the same time, and on many balancers."""
        checks.resting = False
        if not checks.in_progress:
            self._schedule(checks, soon(trio.current_time(), checks.interval(), self._rng))

    def remove(self, checks: Checks) -> None:
        """Stop checking a server. A check in progress ends without a result."""
        checks.end()

    def hurry(self, checks: Checks) -> None:
        """Start the next check within the fast interval, as a passive health check ejected the server."""
        start = soon(trio.current_time(), checks.spec.fast_interval, self._rng)
        if start < checks.due < math.inf:
            self._schedule(checks, start)

    async def _sleep(self) -> float:
        """Sleep until there is something to do. Return how many seconds too late this returns, if they matter."""
        self._asleep_until = -math.inf if self._more else self._next_turn()
        with trio.CancelScope(deadline=self._asleep_until) as self._wait:
            if self._epoll is None:
                await trio.sleep_forever()
            else:
                await self._epoll.readable()
        expected, self._asleep_until = self._asleep_until, -math.inf
        return self._lag(expected)

    def _lag(self, expected: float = -math.inf) -> float:
        """Return how many seconds too late it is, if they matter: since the last call, or since ``expected`` if later.

        A stall falls into a turn as easily as between two.
        """
        until = max(self._seen, expected)
        self._seen = trio.current_time()
        lag = self._seen - until
        return lag if lag > LAG or self._more else 0.0

    def _next_turn(self) -> float:
        start = self._heap[0][0] if self._heap and self._has_room else math.inf
        look = self._tasks.next_look
        return min(start, look) if self._epoll is None else min(start, look, self._epoll.next_look)

    def _wake_at(self, time: float) -> None:
        if time < self._asleep_until:
            self._wait.deadline = self._asleep_until = time

    @property
    def _has_room(self) -> bool:
        return self._tasks.in_flight + (0 if self._epoll is None else self._epoll.in_flight) < self._most_in_flight

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
                checks.in_progress = True
                checks.late = now - due > LATE
                if checks.late:
                    self._note_late(checks, now - due, now)
                self._start(checks, now)
        return True

    def _note_late(self, checks: Checks, seconds: float, now: float) -> None:
        self.late += 1
        pool = checks.pool
        if now - self._last_late.get(pool, -math.inf) > STREAK_ENDS:
            waits = [now - due for due, _, each in self._heap if each.due == due and each.pool == pool]
            late = [seconds, *(wait for wait in waits if wait > LATE)]
            self._report_late(pool, len(late), max(late))
            self._last_late = {name: last for name, last in self._last_late.items() if now - last <= STREAK_ENDS}
        self._last_late[pool] = now

    def _start(self, checks: Checks, now: float) -> None:
        for check in checks.each:
            if self._epoll is not None and check.by_epoll:
                self._epoll.start(check, now)
            else:
                self._tasks.start(check, now)

    def _finished(self, checks: Checks, result: CheckResult | None) -> None:
        checks.in_progress = False
        checks.report(result)
        if checks.resting:
            checks.close_kept()
            return
        interval = checks.spec.fast_interval if result is None else checks.interval()
        if checks.late:  # the fast interval would only make others later
            interval = max(interval, checks.spec.interval)
        self._schedule(checks, next_start(checks.started, interval, self._rng))
