"""The last hour of one pool: a fixed number of points, and the last changes of its servers."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["CHANGES_KEPT", "COUNTS", "POINTS", "RATES", "STEP", "NotedChange", "PoolHistory", "slot_at"]

STEP = 10.0
"""Seconds between two points."""
POINTS = 360
"""Points kept: an hour."""
COUNTS = ("up", "down", "draining", "active")
"""Series of whole numbers: servers by state, and open connections."""
RATES = ("per_second", "failed_per_second")
"""Series of figures per second: connections and requests given to servers, and failed connects."""
CHANGES_KEPT = 100
"""Changes of servers kept. A guess: a day of a pool in trouble."""
NO_SAMPLE = math.nan
"""A point at which nothing was sampled."""


def slot_at(now: float) -> int:
    """Return the number of the point to which a reading of trio's clock belongs."""
    return int(now // STEP)


class NotedChange(NamedTuple):
    """A server has changed its state, or an operator or an agent check has said something about it."""

    at: float
    """Seconds since 1970."""
    server: str
    state: str
    reason: str


class PoolHistory:
    """Points in rings, by series. The place of a point follows from its number alone, see :func:`slot_at`.

    Each series takes 4 bytes a point. Numbers are exact up to 16 million.
    """

    def __init__(self) -> None:
        self.changes: deque[NotedChange] = deque(maxlen=CHANGES_KEPT)
        """The oldest first."""
        self._rings = {name: array("f", [NO_SAMPLE]) * POINTS for name in (*COUNTS, *RATES)}
        self._newest = -1
        """Number of the last point."""

    def put(self, slot: int, values: Mapping[str, float]) -> None:
        """Set the point of a number that is not lower than any before. Those left out since the last one are empty."""
        for name, ring in self._rings.items():
            for skipped in range(max(self._newest + 1, slot - POINTS + 1), slot):
                ring[skipped % POINTS] = NO_SAMPLE
            ring[slot % POINTS] = values[name]
        self._newest = slot

    def points(self, until: int) -> dict[str, list[float | None]]:
        """Return the points up to this number, by series, the oldest first; None where nothing was sampled."""
        whole = {name: [_rounded(each, None) for each in self._ring(name, until)] for name in COUNTS}
        return whole | {name: [_rounded(each, 3) for each in self._ring(name, until)] for name in RATES}

    def _ring(self, name: str, until: int) -> list[float]:
        ring = self._rings[name]
        return [
            ring[slot % POINTS] if slot <= self._newest else NO_SAMPLE for slot in range(until - POINTS + 1, until + 1)
        ]


def _rounded(value: float, digits: int | None) -> float | None:
    return None if math.isnan(value) else round(value, digits)
