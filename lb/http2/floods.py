"""What a peer may do that costs work and brings nothing."""

from __future__ import annotations

__all__ = ["FloodBudget"]


class FloodBudget:
    """Counts events that are useless in number. Time earns further ones, and so does useful work.

    A bucket of tokens; its time is looked at only when it is full or empty.
    """

    __slots__ = ("_burst", "_filled_at", "_left", "_rate")

    def __init__(self, burst: int, rate: float) -> None:
        """``burst``: events without a pause; ``rate``: a second, when these were used up."""
        self._burst = self._left = burst
        self._rate = rate
        self._filled_at = 0.0

    def earn(self, events: int) -> None:
        """Useful work was done."""
        left = self._left + events
        self._left = min(self._burst, left)

    def spend(self, now: float) -> bool:
        """Count an event. Return False if there were too many. ``now``: seconds of a clock that never goes back."""
        if self._left == self._burst:
            self._filled_at = now
        elif not self._left:
            self.earn(int((now - self._filled_at) * self._rate))
            if not self._left:
                return False
            self._filled_at = now
        self._left -= 1
        return True
