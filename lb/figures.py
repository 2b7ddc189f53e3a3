"""What traffic adds up to: counters over finished connections, and what is asked of all processes that carry it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, TypeVar

import attrs

from lb.events import ConnectionClosed, Event, Sink

__all__ = ["CONNECT_BOUNDS", "Connects", "Figures", "LiveConnection", "LiveState", "Series", "Survey", "Wanted"]

CONNECT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the histogram of connect times, seconds: half a millisecond is a local network, 3 s the timeout."""
MOST_SERIES = 20_000
"""Combinations of listener, pool, server and reason that are kept apart; others count as :data:`OTHER`. A guess: names
come from the configuration, and only discovery can bring ever new ones."""
OTHER = "(other)"

Key = TypeVar("Key")
Series: TypeAlias = tuple[str, str, str, str]
"""Listener, pool, server (empty if there was none) and reason."""


@attrs.define
class Connects:
    """The connects of one pool that worked: how many fell below each bound, and how long they took together."""

    buckets: list[int] = attrs.field(factory=lambda: [0] * (len(CONNECT_BOUNDS) + 1))
    seconds: float = 0.0
    retries: int = 0
    """Further servers tried after one failed."""

    def add(self, other: Connects) -> None:
        self.buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.retries += other.retries


@attrs.define
class Figures:
    """Of finished connections, and of the splicer that carries them. They only ever grow."""

    connections: dict[Series, int] = attrs.field(factory=dict)
    connects: dict[str, Connects] = attrs.field(factory=dict)
    """By pool."""
    failed_connects: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """By pool and server."""
    bytes_in: int = 0
    bytes_out: int = 0
    batches: int = 0
    """Of the splicer, see there."""
    edges: int = 0

    def observing(self, sink: Sink) -> Sink:
        """A sink that counts what it passes on."""

        def observe(event: Event) -> None:
            if type(event) is ConnectionClosed:
                self.note(event)
            sink(event)

        return observe

    def note(self, record: ConnectionClosed) -> None:
        """Count one connection: about a microsecond."""
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
                place = (record.pool, attempt.server)
                self.failed_connects[place] = self.failed_connects.get(place, 0) + 1

    def add(self, other: Figures) -> None:
        """Add what another process has counted."""
        _add(self.connections, other.connections)
        _add(self.failed_connects, other.failed_connects)
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.batches += other.batches
        self.edges += other.edges
        for pool, connects in other.connects.items():
            self.connects.setdefault(pool, Connects()).add(connects)


def _add(ours: dict[Key, int], theirs: Mapping[Key, int]) -> None:
    for key, count in theirs.items():
        ours[key] = ours.get(key, 0) + count


@attrs.define
class Survey:
    """How it stands with the traffic: of one process, or of all of them together."""

    figures: Figures = attrs.field(factory=Figures)
    """With the bytes so far of the connections that are open."""
    accepted: dict[str, int] = attrs.field(factory=dict)
    """Connections ever accepted, by listener."""
    leased: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """Leases ever taken, by pool and server."""

    def add(self, other: Survey) -> None:
        self.figures.add(other.figures)
        _add(self.accepted, other.accepted)
        _add(self.leased, other.leased)

    @classmethod
    def sum(cls, surveys: Iterable[Survey]) -> Survey:
        total = cls()
        for survey in surveys:
            total.add(survey)
        return total


LiveState: TypeAlias = Literal["greeting", "connecting", "held", "open"]


@attrs.frozen
class LiveConnection:
    """A connection that is open now."""

    id: int
    listener: str
    pool: str
    server: str | None
    client: str
    state: LiveState
    duration_ms: float
    bytes_in: int
    bytes_out: int


@attrs.frozen
class Wanted:
    """Which open connections are meant: those that fit all that is given; and how many are wanted at the most."""

    id: int | None = None
    listener: str | None = None
    pool: str | None = None
    server: str | None = None
    client: str | None = None
    """The beginning of the client's address as text."""
    most: int = 100

    def fits(self, connection: LiveConnection) -> bool:
        return (
            self.id in (None, connection.id)
            and self.listener in (None, connection.listener)
            and self.pool in (None, connection.pool)
            and self.server in (None, connection.server)
            and (self.client is None or connection.client.startswith(self.client))
        )
