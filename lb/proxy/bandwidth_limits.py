"""The bandwidth limits of a listener: of each connection, of each source, and of all its connections together.

The connections of a source share its buckets, which exist while one of them is open. With several workers, each has its
part of the listener's limit; a source's limit holds in each worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lb.model import BandwidthSpec
from lb.model.address import Client, address_of
from lb.net.deadlines import DeadlineQueue, Deadlines
from lb.proxy.source_limits import source_of
from lb.relay.bandwidth import Bandwidth, Meter, SharedBucket
from lb.relay.token_bucket import BandwidthLimit

__all__ = ["BandwidthLimits", "bandwidth_of"]

WAITS = (0.02, 0.1)
"""Seconds after which a bucket is looked at again: the first that is long enough for a portion, or the last."""

Pair = tuple[SharedBucket, SharedBucket]
"""The buckets of both directions: from clients, to clients."""


def bandwidth_of(pairs: Sequence[Pair]) -> Bandwidth:
    """Return the limits of a relay under these buckets."""
    return Bandwidth(Meter([inwards for inwards, _ in pairs]), Meter([outwards for _, outwards in pairs]))


class _Source:
    """The buckets of one source, and the number of its connections."""

    def __init__(self, buckets: Pair) -> None:
        self.buckets = buckets
        self.connections = 0


class BandwidthLimits:
    """The limits. ``workers`` processes share the listener."""

    def __init__(self, deadlines: Deadlines, clock: Callable[[], float], workers: int) -> None:
        self._deadlines = deadlines
        self._clock = clock
        self._workers = workers
        self._connection, self._source, self._listener = BandwidthLimit(), BandwidthLimit(), BandwidthLimit()
        self._shared = self._buckets(self._listener)
        self._sources: dict[bytes, _Source] = {}

    def configure(self, spec: BandwidthSpec) -> None:
        """Set the limits, also of open connections that were limited before."""
        self._connection.set(spec.connection)
        self._source.set(spec.source)
        self._listener.set(spec.listener / self._workers)

    def begin(self, client: Client, on_close: Callable[[Callable[[], None]], None]) -> Bandwidth:
        """Return the limits of a new connection. ``on_close`` takes what is to be called at its end."""
        return bandwidth_of(self.buckets(client, on_close))

    def buckets(self, client: Client, on_close: Callable[[Callable[[], None]], None]) -> list[Pair]:
        """Return the buckets of a new connection: its own before those that others share."""
        pairs = []
        if self._connection.rate:
            pairs.append(self._buckets(self._connection))
        address = address_of(client.host)
        if self._source.rate and address is not None:  # None: a client of a unix socket
            pairs.append(self._of_source(source_of(address), on_close))
        pairs.append(self._shared)
        return pairs

    def bucket(self, limit: BandwidthLimit) -> SharedBucket:
        """Return a bucket of another limit."""
        return SharedBucket(limit, self._queues, self._clock)

    def _queues(self) -> list[DeadlineQueue]:
        return [self._deadlines.queue("bandwidth", wait) for wait in WAITS]

    def _of_source(self, source: bytes, on_close: Callable[[Callable[[], None]], None]) -> Pair:
        found = self._sources.get(source)
        if found is None:
            found = self._sources[source] = _Source(self._buckets(self._source))
        found.connections += 1
        on_close(partial(self._source_left, source))
        return found.buckets

    def _source_left(self, source: bytes) -> None:
        found = self._sources[source]
        found.connections -= 1
        if not found.connections:
            del self._sources[source]

    def _buckets(self, limit: BandwidthLimit) -> Pair:
        return SharedBucket(limit, self._queues, self._clock), SharedBucket(limit, self._queues, self._clock)
