"""When announced addresses stand. Pure: no I/O and no clock."""

from __future__ import annotations

import math
from collections.abc import Collection

__all__ = ["AnnounceRule"]


class AnnounceRule:
    """Decides whether the addresses stand: only once all conditions have held for ``rise`` seconds, and never longer
    than the pools can serve.

    That a pool's servers have passed a check is a condition for the rise alone: a pool that a reload adds has not had
    the time for one, and must not take the addresses away.
    """

    def __init__(self, rise: float, *, stands: bool = False) -> None:
        self.rise = rise
        self.stands = stands
        self._since: float | None = None
        """Since when all conditions hold while the addresses do not stand."""

    def decide(self, out_of_service: Collection[str], unproven: Collection[str], now: float) -> bool:
        """Return whether the addresses stand from now on. The arguments are the pools that are in the way."""
        if out_of_service or (unproven and not self.stands):
            self._since = None
            self.stands = False
        elif not self.stands:
            self._since = now if self._since is None else self._since
            self.stands = now >= self.due
        return self.stands

    @property
    def due(self) -> float:
        """When to decide again though nothing has changed; ``math.inf`` for never."""
        return math.inf if self.stands or self._since is None else self._since + self.rise
