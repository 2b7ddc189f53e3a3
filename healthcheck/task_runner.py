"""Makes the checks of probes that are async functions: plug-ins, commands, and all on systems without epoll."""

from __future__ import annotations

from collections.abc import Callable

import trio

from healthcheck.check import ServerCheck
from healthcheck.connection import Outcome
from healthcheck.conversation import TimedOut
from healthcheck.probe import Passed, Word

__all__ = ["TaskRunner"]


class TaskRunner:
    """Makes each check in a task in ``nursery``. ``freed(now)`` is called after each."""

    def __init__(self, nursery: trio.Nursery, freed: Callable[[float], None]) -> None:
        self._nursery = nursery
        self._freed = freed
        self.in_flight = 0

    def start(self, check: ServerCheck, now: float) -> None:
        """Start a check."""
        self.in_flight += 1
        check.started = now
        check.running = scope = trio.CancelScope()
        self._nursery.start_soon(self._run, check, scope)

    async def _run(self, check: ServerCheck, scope: trio.CancelScope) -> None:
        outcome: Outcome | None = TimedOut()
        try:
            with scope, trio.move_on_after(check.timeout):
                try:
                    found = await check.probe.check(check.target)
                    outcome = found if isinstance(found, Passed | Word) else str(found)  # a plug-in may return None
                except Exception as exception:  # noqa: BLE001 - a plug-in's bug must affect this check only
                    outcome = exception
        finally:
            self.in_flight -= 1
        # A probe may turn Cancelled into a failure. That is no result if all checks were cancelled.
        await trio.lowlevel.checkpoint_if_cancelled()
        if scope.cancel_called:
            return
        now = trio.current_time()
        late = now - check.started - check.timeout
        if isinstance(outcome, TimedOut) and late > check.timeout / 2:
            outcome = None  # this process was late, and not only the server
        check.done(outcome, now)
        self._freed(now)
