"""Counters of HTTP requests by listener and route: classes of statuses, and histograms of times."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from lb.events import HttpRequest

__all__ = [
    "REQUEST_BOUNDS",
    "STATUS_CLASSES",
    "Durations",
    "RequestsByRoute",
    "RouteKey",
    "RouteRequests",
]

REQUEST_BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
"""Upper bounds of the histograms in seconds: 0.5 ms is a local server, 60 s the default response_timeout."""
STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""``none`` counts requests whose client got no response."""

RouteKey: TypeAlias = tuple[str, str]
"""Listener and route."""


def _new_buckets() -> list[int]:
    return [0] * (len(REQUEST_BOUNDS) + 1)


@attrs.define
class Durations:
    """A histogram: how many durations were at most each of REQUEST_BOUNDS and above the one before, and their sum."""

    buckets: list[int] = attrs.field(factory=_new_buckets)
    seconds: float = 0.0

    def note(self, milliseconds: float) -> None:
        seconds = milliseconds / 1000
        self.buckets[bisect_left(REQUEST_BOUNDS, seconds)] += 1
        self.seconds += seconds

    def copy(self) -> Durations:
        return Durations(self.buckets[:], self.seconds)

    def add(self, other: Durations) -> None:
        self.buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds

    def since(self, before: Durations) -> Durations:
        """Return what came after ``before``, an earlier state."""
        buckets = [now - then for now, then in zip(self.buckets, before.buckets, strict=True)]
        return Durations(buckets, self.seconds - before.seconds)

    @property
    def count(self) -> int:
        return sum(self.buckets)

    def quantile(self, share: float) -> float | None:
        """Return the duration in seconds that this share of all does not exceed; None if there are none.

        Within a bucket it is interpolated, as histogram_quantile of Prometheus does; above the last bound it is that.
        """
        rank = share * self.count
        below, lower = 0, 0.0
        for bound, count in zip(REQUEST_BOUNDS, self.buckets, strict=False):
            if count and below + count >= rank:
                return lower + (bound - lower) * (rank - below) / count
            below, lower = below + count, bound
        return lower if self.count else None


@attrs.define
class RouteRequests:
    """The requests of one route of one listener."""

    statuses: list[int] = attrs.field(factory=lambda: [0] * len(STATUS_CLASSES))
    """In the order of STATUS_CLASSES."""
    took: Durations = attrs.field(factory=Durations)
    """Until the last byte of the response was sent."""
    first_byte: Durations = attrs.field(factory=Durations)
    """Until the head of the response."""

    def note(self, record: HttpRequest) -> None:
        """Count a request."""
        status = record.status
        self.statuses[0 if status is None else status // 100] += 1
        self.took.note(record.duration_ms)
        if record.wait_ms is not None:
            self.first_byte.note(record.wait_ms)

    def copy(self) -> RouteRequests:
        return RouteRequests(self.statuses[:], self.took.copy(), self.first_byte.copy())

    def add(self, other: RouteRequests) -> None:
        self.statuses = [ours + theirs for ours, theirs in zip(self.statuses, other.statuses, strict=True)]
        self.took.add(other.took)
        self.first_byte.add(other.first_byte)

    def since(self, before: RouteRequests) -> RouteRequests:
        """Return the requests after ``before``, an earlier state."""
        statuses = [now - then for now, then in zip(self.statuses, before.statuses, strict=True)]
        return RouteRequests(statuses, self.took.since(before.took), self.first_byte.since(before.first_byte))

    @property
    def total(self) -> int:
        return sum(self.statuses)


RequestsByRoute: TypeAlias = Mapping[RouteKey, RouteRequests]
