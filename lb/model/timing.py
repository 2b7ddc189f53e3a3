"""Histograms of server response times, with exponential buckets: small to store, to send and to merge."""

from __future__ import annotations

from math import floor, log2
from typing import Literal, TypeAlias

import attrs

__all__ = ["Histogram", "Measure", "Timing", "Timings", "add_up"]

Measure: TypeAlias = Literal["connect", "first byte"]

BUCKETS_PER_DOUBLING = 32
"""Buckets per doubling: a median is accurate to 1.1 %."""
SHORTEST = 1e-6
"""Seconds; shorter durations count as this."""


@attrs.define
class Histogram:
    """Durations in seconds, as counts by bucket."""

    counts: dict[int, int] = attrs.field(factory=dict)

    def add(self, seconds: float) -> None:
        """Add a duration. Costs less than a microsecond."""
        bucket = floor(log2(max(seconds, SHORTEST)) * BUCKETS_PER_DOUBLING)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def take(self) -> Histogram:
        """Return the counts and reset them."""
        taken, self.counts = Histogram(self.counts), {}
        return taken

    def add_all(self, other: Histogram) -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def median(self) -> float:
        """The median in seconds: the middle of its bucket; the lower one of two. Raises ValueError if empty."""
        left = (self.total + 1) // 2
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return float(2 ** ((bucket + 0.5) / BUCKETS_PER_DOUBLING))
        raise ValueError("the histogram is empty")


@attrs.define
class Timing:
    """Measurements of one server."""

    connect: Histogram = attrs.field(factory=Histogram)
    first_byte: Histogram | None = None
    """None if not measured."""

    def take(self) -> dict[Measure, Histogram]:
        """Return and reset the measurements. Connects that are in progress count next time."""
        taken: dict[Measure, Histogram] = {"connect": self.connect.take()}
        if self.first_byte is not None:
            taken["first byte"] = self.first_byte.take()
        return taken


Timings: TypeAlias = dict[str, dict[Measure, Histogram]]
"""Measurements by server name."""


def add_up(timings: Timings, others: Timings) -> None:
    """Add the measurements of another process to ``timings``."""
    for server, histograms in others.items():
        ours = timings.setdefault(server, {})
        for measure, histogram in histograms.items():
            ours.setdefault(measure, Histogram()).add_all(histogram)
