"""Deadlines of many connections without a timer each.

Waits of the same kind and length share a queue. They are due in the order in which they came, so entering and leaving
are O(1). A wait that signs of life put off does not hear of each: it notes the time of the last one, and when it is
due it enters again as of then (:meth:`DeadlineQueue.renew`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Literal, Protocol, TypeAlias

import trio

__all__ = ["DeadlineQueue", "Deadlines", "Wait", "WaitKind"]

WaitKind: TypeAlias = Literal["connect", "hold", "hold_retry", "idle", "half_close", "calm"]


class Wait(Hashable, Protocol):
    """Something that waits in a queue."""

    def expired(self, queue: DeadlineQueue) -> None:
        """The deadline passed; the wait has left the queue. Must not raise."""


class DeadlineQueue:
    """The waits of one kind and length. A wait of infinite length never expires and costs nothing."""

    def __init__(self, kind: WaitKind, timeout: float) -> None:
        self.kind: WaitKind = kind
        self.timeout = timeout
        self._since: OrderedDict[Wait, float] = OrderedDict()
        self._renewed: dict[Wait, tuple[float, int, Wait]] = {}
        """Those that entered as of an earlier moment, with the entry in force for each."""
        self._heap: list[tuple[float, int, Wait]] = []
        """Their entries by time, and some that are not in force any more."""
        self._entries = count()

    def enter(self, wait: Wait, now: float) -> None:
        """Enter the queue, which the wait is not in."""
        if self.timeout != math.inf:
            self._since[wait] = now

    def touch(self, wait: Wait, now: float) -> None:
        """Enter the queue, or start anew in it."""
        if self.timeout != math.inf:
            self._renewed.pop(wait, None)
            self._since[wait] = now
            self._since.move_to_end(wait)

    def renew(self, wait: Wait, since: float) -> None:
        """Enter the queue as of an earlier moment, in O(log n): for a wait that has just come out of it."""
        self._renewed[wait] = entry = (since, next(self._entries), wait)
        heappush(self._heap, entry)
        self._compact()

    def _compact(self) -> None:
        """Drop the entries that are not in force, once they are the majority."""
        if len(self._heap) > 2 * len(self._renewed) + 16:
            self._heap = list(self._renewed.values())
            heapify(self._heap)

    def discard(self, wait: Wait) -> None:
        """Leave the queue; fine if not in it."""
        if self._since.pop(wait, None) is None and self._renewed.pop(wait, None) is not None:
            self._compact()

    @property
    def next_deadline(self) -> float:
        """When the first wait is due; infinite if there is none."""
        return min(next(iter(self._since.values()), math.inf), self._first_renewed()) + self.timeout

    def _first_renewed(self) -> float:
        while self._heap:
            since, _, wait = entry = self._heap[0]
            if self._renewed.get(wait) is entry:
                return since
            heappop(self._heap)
        return math.inf

    def pop_due(self, now: float) -> Wait | None:
        """Take out a wait that is due, if there is one."""
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
    """All queues, and the one task that watches them. ``fault(where, exception)`` hears of a wait that raised."""

    def __init__(self, *, fault: Callable[[str, Exception], None]) -> None:
        self._fault = fault
        self._queues: dict[tuple[WaitKind, float], DeadlineQueue] = {}
        self._added = trio.Event()

    def queue(self, kind: WaitKind, timeout: float) -> DeadlineQueue:
        """The queue for this kind and length (seconds); the same one for the same arguments."""
        key = (kind, timeout)
        if key not in self._queues:
            self._queues[key] = DeadlineQueue(kind, timeout)
            self._added.set()
        return self._queues[key]

    async def run(self) -> None:
        """Expire what is due, for ever.

        A wait that enters needs no wake-up: it is due no earlier than the shortest timeout from now, and the task never
        sleeps longer than that.
        """
        while True:
            self._added = trio.Event()
            now = trio.current_time()
            queues = list(self._queues.values())
            for queue in queues:
                self._expire(queue, now)
            shortest = min((queue.timeout for queue in queues), default=math.inf)
            first = min((queue.next_deadline for queue in queues), default=math.inf)
            with trio.move_on_at(min(first, now + shortest)):
                await self._added.wait()

    def _expire(self, queue: DeadlineQueue, now: float) -> None:
        while (wait := queue.pop_due(now)) is not None:
            try:
                wait.expired(queue)
            except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
                self._fault(f"{queue.kind} deadline", exception)
