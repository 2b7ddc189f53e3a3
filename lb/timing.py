"""How long a server takes, counted in buckets that grow by the same factor: small to keep, to send and to add up."""

from __future__ import annotations

from math import floor, log2
from typing import Literal, TypeAlias

import attrs

__all__ = ["Measure", "Spread", "Timing", "Timings", "add_up"]

Measure: TypeAlias = Literal["connect", "first byte"]

STEPS = 32
"""Buckets for each doubling: a median is right within 1.1 %."""
SHORTEST = 1e-6
"""Seconds; what takes less counts as that."""


@attrs.define
class Spread:
    """Durations in seconds, as counts by bucket."""

    counts: dict[int, int] = attrs.field(factory=dict)

    def add(self, seconds: float) -> None:
        """Count one: less than a microsecond."""
        bucket = floor(log2(max(seconds, SHORTEST)) * STEPS)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1

    def take(self) -> Spread:
        """What has been counted, which begins anew."""
        taken, self.counts = Spread(self.counts), {}
        return taken

    def add_all(self, other: Spread) -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def median(self) -> float:
        """Seconds: the middle of the bucket that holds it. Of an even number the lower of two. There must be some."""
        left = (self.total + 1) // 2
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return float(2 ** ((bucket + 0.5) / STEPS))
        raise ValueError("nothing was counted")


@attrs.define
class Timing:
    """What is measured of one server."""

    connect: Spread = attrs.field(factory=Spread)
    first_byte: Spread | None = None
    """None if that is not measured."""

    def take(self) -> dict[Measure, Spread]:
        """What has been measured since the last time. Connections that are under way count next time."""
        taken: dict[Measure, Spread] = {"connect": self.connect.take()}
        if self.first_byte is not None:
            taken["first byte"] = self.first_byte.take()
        return taken


Timings: TypeAlias = dict[str, dict[Measure, Spread]]
"""What was measured of each server, by its name."""


def add_up(timings: Timings, others: Timings) -> None:
    """Add what another process has measured."""
    for server, spreads in others.items():
        ours = timings.setdefault(server, {})
        for measure, spread in spreads.items():
            ours.setdefault(measure, Spread()).add_all(spread)
