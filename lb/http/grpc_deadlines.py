"""The deadlines that clients of gRPC set: each call has one of its own, so no queue of a common timeout fits."""

from __future__ import annotations

import trio

from lb.net.deadlines import DeadlineQueue, Wait
from lb.relay.epoll_loop import EpollLoop

__all__ = ["GrpcDeadlines"]


class GrpcDeadlines:
    """Those of all calls of this process. One task sleeps until the first of them, while there are any."""

    def __init__(self, loop: EpollLoop) -> None:
        self._loop = loop
        self._queue = DeadlineQueue("response", 0.0)
        self._wakes_at: float | None = None
        """None: there is no task."""
        self._woken = trio.Event()

    def enter(self, wait: Wait, deadline: float) -> None:
        """Call ``wait.expired`` at this time, unless it is discarded before."""
        self._queue.renew(wait, deadline)
        if self._wakes_at is None:
            self._wakes_at = deadline
            self._loop.spawn(self._run)
        elif deadline < self._wakes_at:
            self._woken.set()

    def discard(self, wait: Wait) -> None:
        """The call has ended."""
        self._queue.discard(wait)

    async def _run(self) -> None:
        try:
            while len(self._queue):
                self._woken = trio.Event()
                self._wakes_at = self._queue.next_deadline
                with trio.move_on_at(self._wakes_at):
                    await self._woken.wait()
                self._expire(trio.current_time())
        finally:
            self._wakes_at = None

    def _expire(self, now: float) -> None:
        while (wait := self._queue.pop_due(now)) is not None:
            try:
                wait.expired(self._queue)
            except Exception as exception:  # noqa: BLE001 - a bug in one call must not reach another
                self._loop.fault("http", exception)
