"""Makes the checks of probes that are async functions: plug-ins, commands, and all on systems without epoll."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from healthcheck.check import ServerCheck
from healthcheck.connection import Outcome
from healthcheck.conversation import TimedOut
from healthcheck.probe import Passed, Word

__all__ = ["TaskRunner"]

NEXT_LOOK = 0.1
"""Seconds until the next look while checks are in progress. It tells whether this process was late."""
SMALL = 0.1
"""Part of the timeout. A process that stood still for longer as it passed, or ends a check too late, may have missed
its answer."""


class TaskRunner:
    """Makes each check in a task in ``nursery``. ``freed(now)`` is called after each."""

    def __init__(self, nursery: trio.Nursery, freed: Callable[[float], None]) -> None:
        self._nursery = nursery
        self._freed = freed
        self._limits: dict[trio.CancelScope, float] = {}
        """The time limits of the checks in progress; of one that has passed, the seconds of a stall in which it did."""
        self._looked = -math.inf
        self.in_flight = 0

    def start(self, check: ServerCheck, now: float) -> None:
        """Start a check."""
        self.in_flight += 1
        check.started = now
        check.running = scope = trio.CancelScope()
        self._nursery.start_soon(self._run, check, scope)

    @property
    def next_look(self) -> float:
        """The time of the next look. Counts from the last one: the turn since then may have stalled."""
        return self._looked + NEXT_LOOK if self.in_flight else math.inf

    def look(self, now: float, lag: float) -> None:
        """Give the checks in progress the time in which this process did not look until ``now``."""
        self._looked = now
        if lag:
            for limit in self._limits:
                if limit.cancel_called:  # trio was first
                    self._limits[limit] = lag
                else:
                    limit.deadline += lag

    async def _run(self, check: ServerCheck, scope: trio.CancelScope) -> None:
        outcome: Outcome | None = TimedOut()
        limit = trio.CancelScope(deadline=trio.current_time() + check.timeout)
        self._limits[limit] = 0.0
        try:
            with scope, limit:
                try:
                    found = await check.probe.check(check.target)
                    outcome = found if isinstance(found, Passed | Word) else str(found)  # a plug-in may return None
                except Exception as exception:  # noqa: BLE001 - a plug-in's bug must affect this check only
                    outcome = exception
        finally:
            self.in_flight -= 1
            stalled = self._limits.pop(limit)
        # A probe may turn Cancelled into a failure. That is no result if all checks were cancelled.
        await trio.lowlevel.checkpoint_if_cancelled()
        if scope.cancel_called:
            return
        now = trio.current_time()
        if limit.cancel_called:
            stalled = max(stalled, now - self._looked - NEXT_LOOK)
        if isinstance(outcome, Exception) and max(stalled, now - limit.deadline) > check.timeout * SMALL:
            outcome = None  # this process was late, and not only the server
        check.done(outcome, now)
        self._freed(now)
