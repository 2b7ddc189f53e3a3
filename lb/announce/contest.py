"""Somebody else changes an announced address: when that is undone. Pure: no I/O and no clock."""

from __future__ import annotations

import math

__all__ = ["Contest"]

FIRST_UNDO = 0.1
"""Seconds until a change is undone: ``ip address flush`` looks again whether some are left, and would find it."""
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until the next ones are undone: the first is doubled with each. Guesses, as the next is."""
PEACE = 300.0
"""Seconds without a change after which the next one counts as the first again."""
MOST_DOUBLED = 10


class Contest:
    """One address that this balancer and others do not agree about. The balancer never gives in, and never hurries."""

    def __init__(self) -> None:
        self._changes = 0
        self._undo = -math.inf
        self._is_wanted = False

    @property
    def _calm(self) -> float:
        """When there will have been peace, if nothing changes until then."""
        return self._undo + PEACE

    def changed(self, now: float, *, is_wanted: bool) -> float:
        """Take a change by somebody else, against what is wanted here. Return the seconds until it is undone."""
        self._is_wanted = is_wanted
        self._changes = 1 if now >= self._calm else min(self._changes + 1, MOST_DOUBLED)
        pause = FIRST_UNDO
        if self._changes > 1:
            pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** (self._changes - 2))
        self._undo = now + pause
        return pause

    def waits(self, now: float, *, is_wanted: bool) -> bool:
        """Return whether the last change stays for now; never, if another thing is wanted since."""
        return now < self._undo and is_wanted == self._is_wanted

    def is_quiet(self, now: float) -> bool:
        """Return whether this goes on and on: then it is not worth a word any more, before there is calm."""
        return self._changes > 1 and now < self._calm

    @property
    def is_told(self) -> bool:
        """Whether the last change is to be told: the first one, and the second, which says that it goes on."""
        return self._changes <= 2

    def due(self, now: float) -> float:
        """Return when something is to be done next: ``math.inf`` for never."""
        return min((moment for moment in (self._undo, self._calm) if moment > now), default=math.inf)
