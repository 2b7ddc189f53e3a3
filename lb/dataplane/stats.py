"""Traffic statistics: counters of finished connections and requests, and snapshots that are summed over all workers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

import attrs

from lb.dataplane.forwarded import Forwarded
from lb.dataplane.requests import RouteKey, RouteRequests
from lb.dataplane.viewers import WatchedStreams, merge_watchers
from lb.events import Attempt, ConnectionClosed, Event, HttpRequest, Sink
from lb.model.cache_figures import CacheFigures

__all__ = ["CONNECT_BOUNDS", "ConnectionLabels", "Connects", "Counters", "StatsSnapshot"]

CONNECT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the connect time histogram in seconds: 0.5 ms is a local network, 3 s the timeout."""
MOST_SERIES = 20_000
"""Maximum series of a counter by server or route; further ones count as :data:`OTHER`. A guess: names come from the
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
    """Counters of finished connections, of requests and of the splicer. They never decrease."""

    connections: dict[ConnectionLabels, int] = attrs.field(factory=dict)
    connects: dict[str, Connects] = attrs.field(factory=dict)
    """By pool."""
    failed_connects: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """By pool and server."""
    requests: dict[RouteKey, RouteRequests] = attrs.field(factory=dict)
    request_retries: dict[str, int] = attrs.field(factory=dict)
    """Further attempts of requests after a failed one, by pool; a key for each pool that had a request."""
    forwarded: dict[str, Forwarded] = attrs.field(factory=dict)
    """What forward proxies were asked for, by listener."""
    bytes_in: int = 0
    bytes_out: int = 0
    batches: int = 0
    """Batches of the splicer; see there."""
    edges: int = 0

    def observing(self, sink: Sink) -> Sink:
        """Return a sink that counts connections and requests and passes events on to ``sink``."""

        def observe(event: Event) -> None:
            if isinstance(event, ConnectionClosed):
                self.note(event)
            elif isinstance(event, HttpRequest):
                self.note_request(event)
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
        if not record.pool:  # of mode http: its requests have the pools
            return
        connects = self.connects.get(record.pool)
        if connects is None:
            connects = self.connects[record.pool] = Connects()
        if record.connect_ms is not None:
            seconds = record.connect_ms / 1000
            connects.buckets[bisect_left(CONNECT_BOUNDS, seconds)] += 1
            connects.seconds += seconds
        if record.attempts:
            connects.retries += len(record.attempts) - (record.connect_ms is None)
            self._note_failed(record.pool, record.attempts)

    def note_connect(self, pool: str, milliseconds: float) -> None:
        """Count a successful connect that is in no record of a connection."""
        if not pool:  # a server that a client of a forward proxy has named
            return
        connects = self.connects.setdefault(pool, Connects())
        connects.buckets[bisect_left(CONNECT_BOUNDS, milliseconds / 1000)] += 1
        connects.seconds += milliseconds / 1000

    def note_forward(self, listener: str, protocol: str, result: str, target: bytes) -> None:
        """Count what a forward proxy was asked for."""
        forwarded = self.forwarded.get(listener)
        if forwarded is None:
            forwarded = self.forwarded[listener] = Forwarded()
        forwarded.note(protocol, result, target)

    def note_request(self, record: HttpRequest) -> None:
        """Count a request. Costs about 1 µs."""
        requests = self.requests.get((record.listener, record.route))
        if requests is None:
            requests = self._new_route(record.listener, record.route)
        requests.note(record)
        pool = record.pool
        if not pool:
            return
        if record.attempts:
            retries = len(record.attempts) - (record.server is None)
            self.request_retries[pool] = self.request_retries.get(pool, 0) + retries
            self._note_failed(pool, [attempt for attempt in record.attempts if type(attempt) is Attempt])
        elif pool not in self.request_retries:
            self.request_retries[pool] = 0

    def _new_route(self, listener: str, route: str) -> RouteRequests:
        return self.requests.setdefault(_place(self.requests, (listener, route), _other), RouteRequests())

    def _note_failed(self, pool: str, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            _add(self.failed_connects, {(pool, attempt.server): 1}, _other)

    def add(self, other: Counters) -> None:
        """Add the counters of another process."""
        _add(self.connections, other.connections, _other_labels)
        _add(self.failed_connects, other.failed_connects, _other)
        for listener, forwarded in other.forwarded.items():
            self.forwarded.setdefault(listener, Forwarded()).add(forwarded)
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.batches += other.batches
        self.edges += other.edges
        for pool, connects in other.connects.items():
            self.connects.setdefault(pool, Connects()).add(connects)
        for key, requests in other.requests.items():
            place = _place(self.requests, key, _other)
            ours = self.requests.get(place)
            if ours is None:
                self.requests[place] = requests.copy()
            else:
                ours.add(requests)
        _add(self.request_retries, other.request_retries)


def _add(ours: dict[Key, int], theirs: Mapping[Key, int], beyond: Callable[[Key], Key] = lambda key: key) -> None:
    """Add counts. Where a key would be one series too many, ``beyond(key)`` is counted instead."""
    if not ours:  # usual, and much faster
        ours.update(theirs)
        return
    for key, count in theirs.items():
        place = _place(ours, key, beyond)
        ours[place] = ours.get(place, 0) + count


def _place(known: Mapping[Key, object], key: Key, beyond: Callable[[Key], Key]) -> Key:
    """Return the key, or ``beyond(key)`` if it would be one series too many."""
    return key if key in known or len(known) < MOST_SERIES else beyond(key)


def _other_labels(labels: ConnectionLabels) -> ConnectionLabels:
    listener, pool, _, reason = labels
    return listener, pool, OTHER, reason


def _other(key: tuple[str, str]) -> tuple[str, str]:
    return key[0], OTHER


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
    kept_connections: dict[str, int] = attrs.field(factory=dict)
    """Idle connections to servers that are kept for further requests, by pool."""
    caches: dict[str, CacheFigures] = attrs.field(factory=dict)
    """By zone; those that a route uses."""
    watched: WatchedStreams = attrs.field(factory=dict)
    """Who watches live streams: :func:`lb.dataplane.viewers.viewers_of` counts them."""
    descriptors_used: float = 0.0
    """Share of the descriptors for connections that is in use, 0 to 1; of several processes the largest."""

    def totals(self) -> StatsSnapshot:
        """Return what remains of a process that has ended: its counters, and nothing that it had at that moment."""
        caches = {zone: figures.totals() for zone, figures in self.caches.items()}
        return attrs.evolve(
            self, handshakes_waiting=0, descriptors_used=0.0, kept_connections={}, caches=caches, watched={}
        )

    def add(self, other: StatsSnapshot) -> None:
        self.handshakes_waiting += other.handshakes_waiting
        self.descriptors_used = max(self.descriptors_used, other.descriptors_used)
        _add(self.kept_connections, other.kept_connections)
        self.figures.add(other.figures)
        _add(self.accepted, other.accepted)
        _add(self.leased, other.leased, _other)
        merge_watchers(self.watched, other.watched)
        for zone, figures in other.caches.items():
            ours = self.caches.get(zone)
            self.caches[zone] = figures if ours is None else ours.plus(figures)

    @classmethod
    def sum(cls, snapshots: Iterable[StatsSnapshot]) -> StatsSnapshot:
        total = cls()
        for stats in snapshots:
            total.add(stats)
        return total
