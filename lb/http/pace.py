"""The pace of one body: bandwidth limits of the route, of the connection, and of those that others share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lb.relay.bandwidth import Meter, SharedBucket

__all__ = ["Pace"]


class Pace:
    """Says how many bytes of a body may pass now. The first ``free`` bytes pass without limit.

    ``resume`` is called when bytes may pass again. Implements :class:`lb.relay.bandwidth.Metered`.
    """

    __slots__ = ("_free", "_meter", "_resume", "closed")

    def __init__(self, buckets: Sequence[SharedBucket], free: int, resume: Callable[[], None]) -> None:
        self._meter = Meter(buckets)
        self._meter.side = self
        self._free = free
        self._resume = resume
        self.closed = False

    def allowed(self, most: int) -> int:
        """Return the bytes that may pass now, at most ``most``; 0: ``resume`` is called later."""
        return min(most, self._free or self._meter.allowed())

    def take(self, count: int) -> None:
        """So many bytes have passed."""
        self._meter.take(count - min(self._free, count))
        self._free -= min(self._free, count)

    def pause(self) -> None:
        """No more bytes pass for now: those that were granted are for others."""
        if not self._meter.waits:
            self._meter.release()

    def resume(self) -> None:
        if not self.closed:
            self._resume()

    def end(self) -> None:
        """The body has ended."""
        self.closed = True
        self._meter.release()
