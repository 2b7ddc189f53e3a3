"""Traffic statistics: counters of finished connections, and snapshots that are summed over all workers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

import attrs

from lb.events import ConnectionClosed, Event, Sink

__all__ = ["CONNECT_BOUNDS", "ConnectionLabels", "Connects", "Counters", "StatsSnapshot"]

CONNECT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the connect time histogram in seconds: 0.5 ms is a local network, 3 s the timeout."""
MOST_SERIES = 20_000
"""Maximum series of a counter by server; further servers count as :data:`OTHER`. A guess: names come from the
configuration, and only discovery can add new ones without bound."""
OTHER = "(other)"
Key = TypeVar("Key")
ConnectionLabels: TypeAlias = tuple[str, str, str, str]
"""Listener, pool, server (empty if none) and reason."""


@attrs.define
class Connects:
    """Successful connects of one pool: the histogram and the total time."""

    buckets: list[int] = attrs.field(factory=lambda: [0] * (len(CONNECT_BOUNDS) + 1))
    seconds: float = 0.0
    retries: int = 0
    """Further attempts after a failed one."""

    def add(self, other: Connects) -> None:
        self.buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.retries += other.retries


@attrs.define
class Counters:
    """Counters of finished connections and of the splicer. They never decrease."""

    connections: dict[ConnectionLabels, int] = attrs.field(factory=dict)
    connects: dict[str, Connects] = attrs.field(factory=dict)
    """By pool."""
    failed_connects: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """By pool and server."""
    bytes_in: int = 0
    bytes_out: int = 0
    batches: int = 0
    """Batches of the splicer; see there."""
    edges: int = 0

    def observing(self, sink: Sink) -> Sink:
        """Return a sink that counts connections and passes events on to ``sink``."""

        def observe(event: Event) -> None:
            if type(event) is ConnectionClosed:
                self.note(event)
            sink(event)

        return observe

    def note(self, record: ConnectionClosed) -> None:
        """Count a connection. Costs about 1 µs."""
        series = (record.listener, record.pool, record.server or "", record.reason)
        count = self.connections.get(series)
        if count is None and len(self.connections) >= MOST_SERIES:
            series = (record.listener, record.pool, OTHER, record.reason)
            count = self.connections.get(series)
        self.connections[series] = (count or 0) + 1
        self.bytes_in += record.bytes_in
        self.bytes_out += record.bytes_out
        connects = self.connects.get(record.pool)
        if connects is None:
            connects = self.connects[record.pool] = Connects()
        if record.connect_ms is not None:
            seconds = record.connect_ms / 1000
            connects.buckets[bisect_left(CONNECT_BOUNDS, seconds)] += 1
            connects.seconds += seconds
        if record.attempts:
            connects.retries += len(record.attempts) - (record.connect_ms is None)
            for attempt in record.attempts:
                _add(self.failed_connects, {(record.pool, attempt.server): 1}, _other_server)

    def add(self, other: Counters) -> None:
        """Add the counters of another process."""
        _add(self.connections, other.connections, _other_labels)
        _add(self.failed_connects, other.failed_connects, _other_server)
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.batches += other.batches
        self.edges += other.edges
        for pool, connects in other.connects.items():
            self.connects.setdefault(pool, Connects()).add(connects)


def _add(ours: dict[Key, int], theirs: Mapping[Key, int], beyond: Callable[[Key], Key] = lambda key: key) -> None:
    """Add counts. Where a key would be one series too many, ``beyond(key)`` is counted instead."""
    if not ours:  # usual, and much faster
        ours.update(theirs)
        return
    for key, count in theirs.items():
        place = key if key in ours or len(ours) < MOST_SERIES else beyond(key)
        ours[place] = ours.get(place, 0) + count


def _other_labels(labels: ConnectionLabels) -> ConnectionLabels:
    listener, pool, _, reason = labels
    return listener, pool, OTHER, reason


def _other_server(place: tuple[str, str]) -> tuple[str, str]:
    return place[0], OTHER


@attrs.define
class StatsSnapshot:
    """Traffic statistics of one process, or the sum of all processes."""

    figures: Counters = attrs.field(factory=Counters)
    """Counters, including the bytes of open connections so far."""
    accepted: dict[str, int] = attrs.field(factory=dict)
    """Accepted connections, by listener."""
    leased: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """Acquired leases, by pool and server."""

    handshakes_waiting: int = 0
    """Steps of TLS handshakes that wait for the CPU."""

    def add(self, other: StatsSnapshot) -> None:
        self.handshakes_waiting += other.handshakes_waiting
        self.figures.add(other.figures)
        _add(self.accepted, other.accepted)
        _add(self.leased, other.leased, _other_server)

    @classmethod
    def sum(cls, snapshots: Iterable[StatsSnapshot]) -> StatsSnapshot:
        total = cls()
        for stats in snapshots:
            total.add(stats)
        return total
