"""Times of 32 bits that wrap after 49.7 days, as times that do not."""

from __future__ import annotations

__all__ = ["UnwrappedTimestamps"]

_WRAP = 1 << 32
_HALF = 1 << 31


class UnwrappedTimestamps:
    """The times of all tracks of a stream. Each is taken to be within 24.8 days of the one before."""

    def __init__(self) -> None:
        self._last: int | None = None

    def unwrap(self, timestamp: int) -> int:
        """Return the time; the first one as it is."""
        if self._last is not None:
            timestamp = self._last + (timestamp - self._last + _HALF) % _WRAP - _HALF
        self._last = timestamp
        return timestamp
