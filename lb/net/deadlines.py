"""Deadline queues: deadlines of many connections without one timer each.

Waits of the same kind and length share a queue. They expire in the order of their entry, so entering and leaving are
O(1). A connection does not update its queue on every activity. It stores the time of the last activity, and when its
deadline expires, it enters again as of that time (:meth:`DeadlineQueue.renew`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Literal, Protocol, TypeAlias

import trio

from lb.net.cooperate import WORK_TURN

__all__ = ["DeadlineQueue", "Deadlines", "Wait", "WaitKind"]

WaitKind: TypeAlias = Literal[
    "header",
    "connect",
    "hold",
    "hold_retry",
    "idle",
    "half_close",
    "calm",
    "step_back",
    "check",
    "check_close",
    "bandwidth",
    "keepalive",
    "idle_client",
    "response",
    "kept",
    "linger",
    "drain",
    "files",
    "cache",
    "race",
]


STALL = 0.1
"""Seconds that the task of the deadlines may wake late. Later, this process stood still, or was too slow."""
MOST_GRACE = 1.0
"""Maximum seconds to handle what has arrived while this process stood still."""


class Wait(Hashable, Protocol):
    """An object with a deadline in a queue."""

    def expired(self, queue: DeadlineQueue) -> None:
        """The deadline passed, and the wait has left the queue. Must not raise."""


class DeadlineQueue:
    """The waits of one kind and one timeout (seconds). An infinite timeout never expires and costs nothing."""

    def __init__(self, kind: WaitKind, timeout: float) -> None:
        self.kind: WaitKind = kind
        self.timeout = timeout
        self._since: OrderedDict[Wait, float] = OrderedDict()
        self._renewed: dict[Wait, tuple[float, int, Wait]] = {}
        """Waits that entered as of an earlier time, with the valid heap entry of each."""
        self._heap: list[tuple[float, int, Wait]] = []
        """Entries of the renewed waits, by time. Some are stale."""
        self._entries = count()

    def enter(self, wait: Wait, now: float) -> None:
        """Enter the queue. The wait must not be in it."""
        if self.timeout != math.inf:
            self._since[wait] = now

    def touch(self, wait: Wait, now: float) -> None:
        """Enter the queue, or restart the deadline of a wait in it."""
        if self.timeout != math.inf:
            self._renewed.pop(wait, None)
            self._since[wait] = now
            self._since.move_to_end(wait)

    def renew(self, wait: Wait, since: float) -> None:
        """Enter the queue as of an earlier time, in O(log n). The wait must have just left the queue."""
        self._renewed[wait] = entry = (since, next(self._entries), wait)
        heappush(self._heap, entry)
        self._compact()

    def _compact(self) -> None:
        """Drop stale entries once they are the majority."""
        if len(self._heap) > 2 * len(self._renewed) + 16:
            self._heap = list(self._renewed.values())
            heapify(self._heap)

    def discard(self, wait: Wait) -> None:
        """Leave the queue. Does nothing if the wait is not in it."""
        if self._since.pop(wait, None) is None and self._renewed.pop(wait, None) is not None:
            self._compact()

    @property
    def next_deadline(self) -> float:
        """The time of the earliest deadline; infinite if there is none."""
        return min(next(iter(self._since.values()), math.inf), self._first_renewed()) + self.timeout

    def _first_renewed(self) -> float:
        while self._heap:
            since, _, wait = entry = self._heap[0]
            if self._renewed.get(wait) is entry:
                return since
            heappop(self._heap)
        return math.inf

    def pop_due(self, now: float) -> Wait | None:
        """Remove and return a wait whose deadline has passed; None if there is none."""
        if self.next_deadline > now:
            return None
        if next(iter(self._since.values()), math.inf) <= self._first_renewed():
            return self._since.popitem(last=False)[0]
        wait = heappop(self._heap)[2]
        del self._renewed[wait]
        return wait

    def __len__(self) -> int:
        return len(self._since) + len(self._renewed)


class Deadlines:
    """All deadline queues, with one task that expires them. ``fault(where, exception)`` reports a wait that raised."""

    def __init__(self, *, fault: Callable[[str, Exception], None]) -> None:
        self._fault = fault
        self._queues: dict[tuple[WaitKind, float], DeadlineQueue] = {}
        self._added = trio.Event()
        self._seen = math.inf
        """When the task read the clock last."""
        self._late = 0.0
        """The longest time between two readings in which it was to have gone on, since it last made up for one."""

    def queue(self, kind: WaitKind, timeout: float) -> DeadlineQueue:
        """Return the queue for this kind and timeout (seconds). The same arguments return the same queue."""
        key = (kind, timeout)
        if key not in self._queues:
            self._queues[key] = DeadlineQueue(kind, timeout)
            self._added.set()
        return self._queues[key]

    async def run(self) -> None:
        """Expire waits until cancelled.

        An entering wait does not wake the task: the task never sleeps longer than the shortest timeout, so no new
        deadline can pass before it wakes.

        After a stall of this process, what was waited for may have arrived already: it is handled first. The stall may
        have fallen into the expiring, too.
        """
        wakes_at = math.inf
        while True:
            self._added = trio.Event()
            now = self._read_clock(wakes_at)
            if self._late > STALL:
                grace, self._late = min(self._late, MOST_GRACE), 0.0
                await trio.sleep(grace)
                self._read_clock(now + grace)
            queues = list(self._queues.values())
            for queue in queues:
                await self._expire(queue, now)
            shortest = min((queue.timeout for queue in queues), default=math.inf)
            first = min((queue.next_deadline for queue in queues), default=math.inf)
            wakes_at = max(min(first, now + shortest), self._read_clock())
            with trio.move_on_at(wakes_at):
                await self._added.wait()

    def _read_clock(self, expected: float = -math.inf) -> float:
        """Return the time, and note how late it is: since the last reading, or since ``expected`` if that is later."""
        now = trio.current_time()
        self._late = max(self._late, now - max(self._seen, expected))
        self._seen = now
        return now

    async def _expire(self, queue: DeadlineQueue, now: float) -> None:
        """Expire the waits that are due. Traffic is served in between: thousands that came at once end at once."""
        turn_ends = self._read_clock() + WORK_TURN
        while (wait := queue.pop_due(now)) is not None:
            try:
                wait.expired(queue)
            except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
                self._fault(f"{queue.kind} deadline", exception)
            if self._read_clock() >= turn_ends:
                await trio.lowlevel.checkpoint()
                turn_ends = self._read_clock() + WORK_TURN
