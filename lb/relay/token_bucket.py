"""A token bucket: how many bytes may pass now. Pure: the time is an argument."""

from __future__ import annotations

import sys

__all__ = ["BandwidthLimit", "TokenBucket"]

BURST_SECONDS = 0.2
"""Seconds whose bytes may pass at once after a pause."""
PORTION = 0.1
"""Seconds whose bytes are waited for: smaller portions would be smoother and cost more."""
LARGEST_PORTION = 64 * 1024


class BandwidthLimit:
    """A limit in bytes a second; 0 is none. A reload may change it."""

    __slots__ = ("portion", "rate")

    def __init__(self, rate: float = 0) -> None:
        self.set(rate)

    def set(self, rate: float) -> None:
        self.rate = rate
        self.portion = int(max(1, min(LARGEST_PORTION, rate * PORTION))) if rate else LARGEST_PORTION
        """Bytes that are worth a read."""


class TokenBucket:
    """The bytes that may pass under a limit. It fills with time, up to BURST_SECONDS; it starts with one portion."""

    __slots__ = ("_at", "_bytes", "limit")

    def __init__(self, limit: BandwidthLimit, now: float) -> None:
        self.limit = limit
        self._at = now
        self._bytes: float = limit.portion

    def available(self, now: float) -> int:
        """Return the bytes that may pass now; 0 or less: none."""
        limit = self.limit
        if not limit.rate:
            return sys.maxsize
        most = max(BURST_SECONDS * limit.rate, limit.portion)
        self._bytes = min(most, self._bytes + (now - self._at) * limit.rate)
        self._at = now
        return int(self._bytes)

    def wait(self, count: int, now: float) -> float:
        """Return the seconds until so many bytes may pass; 0 or less: now."""
        return (count - self.available(now)) / self.limit.rate if self.limit.rate else 0.0

    def take(self, count: int) -> None:
        """So many bytes pass."""
        self._bytes -= count
