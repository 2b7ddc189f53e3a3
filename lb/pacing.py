"""Servers that ramp get no more than their part of the picks, under strategies that look at load.

Load alone cannot do it: as long as connections are few, or short, a server that has none has the least load, whatever
its weight. So such a server is held back after each of its picks, until the others have had theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from lb.backend import Backend

__all__ = ["Pacing", "gaps"]

MOST_LATE = 4
"""Picks that a server may catch up with, say when random-two does not draw it for a while. A guess."""


def gaps(members: list[Backend]) -> dict[Backend, float]:
    """How many picks of all there are for one of a server, for each that has not come as far as the farthest."""
    farthest = max((backend.ramp for backend in members), default=1.0)
    if min((backend.ramp for backend in members), default=1.0) == farthest:
        return {}
    total = sum(backend.spec.weight * backend.ramp for backend in members)
    return {backend: total / (backend.spec.weight * backend.ramp) for backend in members if backend.ramp < farthest}


class Pacing:
    """Counts picks. ``changed(backend)`` is told of each server that is held back, or is so no longer.

    A pick costs O(1), and O(log n) for a server that is paced.
    """

    def __init__(self, changed: Callable[[Backend], None]) -> None:
        self.held: set[Backend] = set()
        """Those not to be picked just now."""
        self._changed = changed
        self._picks = 0
        self._gaps: Mapping[Backend, float] = {}
        self._last: dict[Backend, float] = {}
        """At which pick each was to be picked last, or was new. It may be some picks late, and makes up for it."""
        self._due: list[tuple[float, int, Backend]] = []
        """A heap: at which pick each of those held is free, the order in which they were held for a tie, and it."""
        self._holds = 0

    def use(self, gaps: Mapping[Backend, float]) -> None:
        """From now on so many picks are to pass between two of each."""
        held_before, paced_before = self.held, self._gaps
        self._gaps = gaps
        self._last = {backend: self._last.get(backend, self._picks) for backend in gaps}
        self._due = [
            (due, number, backend)
            for number, (backend, gap) in enumerate(gaps.items())
            if (due := self._last[backend] + gap) > self._picks + 1
        ]
        self._holds = len(gaps)
        heapify(self._due)
        self.held = {backend for _, _, backend in self._due}
        for backend in {**paced_before, **gaps}:
            if (backend in held_before) is not (backend in self.held):
                self._changed(backend)

    def keep(self, members: Sequence[Backend]) -> None:
        """There is a new list; the others are gone."""
        there = set(members)
        self._gaps = {backend: gap for backend, gap in self._gaps.items() if backend in there}
        self._due = [entry for entry in self._due if entry[2] in there]
        heapify(self._due)
        self.held &= there

    @property
    def held_at_next_pick(self) -> set[Backend]:
        """Those of them that would still be held."""
        return {backend for due, _, backend in self._due if due > self._picks + 1}

    def free_those_due(self) -> None:
        """To be called before a pick."""
        while self._due and self._due[0][0] <= self._picks + 1:
            self._free(heappop(self._due)[2])

    def free_all(self) -> None:
        """There is nobody else."""
        due, self._due = self._due, []
        for _, _, backend in due:
            self._free(backend)

    def _free(self, backend: Backend) -> None:
        self.held.discard(backend)
        self._changed(backend)

    def picked(self, backend: Backend) -> None:
        """To be called after a pick."""
        self._picks += 1
        if backend in self._gaps:
            gap = self._gaps[backend]
            self._last[backend] = max(self._last[backend] + gap, self._picks - MOST_LATE * gap)
            due = self._last[backend] + gap
            if due > self._picks + 1:
                self._holds += 1
                heappush(self._due, (due, self._holds, backend))
                self.held.add(backend)
                self._changed(backend)
