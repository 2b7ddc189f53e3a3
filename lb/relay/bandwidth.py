"""Bandwidth limits of relays: per connection, per source, per listener.

A side of a relay reads while all of its buckets have bytes for it. Otherwise it waits in the first bucket that has
none. Connections share the bucket of their source or listener evenly: those that wait get equal grants, and one that
has used its grant waits again while others have not. What is not read stays in the kernel, which slows the sender down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from lb.net.deadlines import DeadlineQueue
from lb.relay.token_bucket import BandwidthLimit, TokenBucket

__all__ = ["Bandwidth", "Meter", "Metered", "SharedBucket"]


ORDERS = count()


class Metered(Protocol):
    """A side of a relay whose reads are limited."""

    closed: bool

    def resume(self) -> None:
        """Read again: bytes may pass."""


class SharedBucket:
    """A token bucket, and the meters that wait for it.

    ``queues`` returns short deadlines, ascending. They wake the process often, so it is not called until a meter waits.
    """

    __slots__ = ("_bucket", "_clock", "_granted", "_queues", "_waiting")

    def __init__(
        self, limit: BandwidthLimit, queues: Callable[[], Sequence[DeadlineQueue]], clock: Callable[[], float]
    ) -> None:
        self._bucket = TokenBucket(limit, clock())
        self._queues = queues
        self._clock = clock
        self._waiting: list[tuple[int, Meter]] = []
        """A heap: the meter whose last grant is the oldest comes first."""
        self._granted: dict[Meter, int] = {}
        """Bytes for meters that have waited. Others may not use them up."""

    def allowed(self, meter: Meter) -> int:
        """Return the bytes that may pass this meter now; 0 if it has to wait."""
        granted = self._granted.get(meter)
        if granted is not None:
            return granted
        if self._waiting or self._granted:
            return 0
        available = self._bucket.available(self._clock())
        return available if available >= self._bucket.limit.portion else 0

    def take(self, meter: Meter, count: int) -> None:
        """So many bytes have passed."""
        self._bucket.take(count)
        granted = self._granted.get(meter)
        if granted is not None:
            if granted > count:
                self._granted[meter] = granted - count
            else:
                del self._granted[meter]

    def release(self, meter: Meter) -> None:
        """The meter needs no more bytes for now."""
        self._granted.pop(meter, None)

    def wait(self, meter: Meter) -> None:
        """Resume the meter once there are bytes for it."""
        heappush(self._waiting, (meter.order, meter))
        if len(self._waiting) == 1:
            self._set_timer()

    def _set_timer(self) -> None:
        now = self._clock()
        wait = self._bucket.wait(sum(self._granted.values()) + self._bucket.limit.portion, now)
        queues = self._queues()
        queue = next((each for each in queues if wait <= each.timeout), queues[-1])
        queue.touch(self, now)

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - whichever was long enough
        """Grant what is there, in equal shares, to those that have waited longest."""
        free = self._bucket.available(self._clock()) - sum(self._granted.values())
        share = max(self._bucket.limit.portion, free // len(self._waiting))
        while self._waiting and free >= share:
            _, meter = heappop(self._waiting)
            if not meter.side.closed:
                free -= share
                self._granted[meter] = share
                meter.order = next(ORDERS)
                meter.waits = False
                meter.side.resume()
        if self._waiting:
            self._set_timer()


class Meter:
    """Limits what one side of a relay reads. ``buckets``: that of the connection before those that others share."""

    __slots__ = ("_buckets", "order", "side", "waits")
    side: Metered

    def __init__(self, buckets: Sequence[SharedBucket]) -> None:
        self._buckets = buckets
        self.order = next(ORDERS)
        """The number of its last grant."""
        self.waits = False
        """It waits for a bucket, which resumes the side."""

    def allowed(self) -> int:
        """Return the bytes that may be read now. If it is 0, the side is resumed later."""
        if self.waits:
            return 0
        least = 0
        for number, bucket in enumerate(self._buckets):
            allowed = bucket.allowed(self)
            if not allowed:
                for later in self._buckets[number:]:
                    later.release(self)
                self.waits = True
                bucket.wait(self)
                return 0
            least = min(least or allowed, allowed)
        return least

    def take(self, count: int) -> None:
        """So many bytes were read."""
        for bucket in self._buckets:
            bucket.take(self, count)

    def release(self) -> None:
        """The side reads no more for now, or is closed: its grants are for others."""
        for bucket in self._buckets:
            bucket.release(self)


class Bandwidth:
    """The limits of one relay: ``inwards`` for what comes from the client, ``outwards`` for what goes to it."""

    __slots__ = ("inwards", "outwards")

    def __init__(self, inwards: Meter, outwards: Meter) -> None:
        self.inwards = inwards
        self.outwards = outwards
