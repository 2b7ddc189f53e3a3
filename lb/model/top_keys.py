"""Which keys are asked for most often, in a table of bounded size."""

from __future__ import annotations

import heapq

__all__ = ["TopKeys"]

MOST_COUNTED = 512
LONGEST_KEY = 200
"""Bytes of a key that are kept. Keys that begin alike count as one."""


class TopKeys:
    """Counts requests by key (Misra and Gries, 1982).

    A count is too low by at most ``2 / MOST_COUNTED`` of all requests: the keys asked for most often are surely in it.
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def note(self, key: bytes) -> None:
        """Count a request. Must be quick: a dictionary's look-up, and rarely a sort of the table."""
        counts = self._counts
        if len(key) > LONGEST_KEY:
            key = key[:LONGEST_KEY]
        counts[key] = counts.get(key, 0) + 1
        if len(counts) > MOST_COUNTED:
            self._shrink()

    def _shrink(self) -> None:
        """Take the same from all counts, so that at least half of the keys have none left and go."""
        taken = sorted(self._counts.values())[MOST_COUNTED // 2]
        self._counts = {key: count - taken for key, count in self._counts.items() if count > taken}

    def add(self, other: TopKeys) -> None:
        """Add the counts of another process."""
        for key, count in other._counts.items():
            self._counts[key] = self._counts.get(key, 0) + count
        if len(self._counts) > MOST_COUNTED:
            self._shrink()

    def largest(self, most: int) -> dict[bytes, int]:
        """Return the keys asked for most often, the first one first."""
        return dict(heapq.nlargest(most, self._counts.items(), key=lambda item: item[1]))
