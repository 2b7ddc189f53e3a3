"""Slow start: a server that has come up ramps to its full weight. The caller passes the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from lb.pools.backend import Backend

__all__ = ["RAMP_STEPS", "Pacing", "SlowStart", "gaps"]

MOST_LATE = 4
"""Missed picks that a server may catch up on, for example if random-two does not draw it for a while. An estimate."""


def gaps(members: list[Backend]) -> dict[Backend, float]:
    """Return, for each server behind the most advanced one, the number of picks per pick of that server."""
    farthest = max((backend.ramp for backend in members), default=1.0)
    if min((backend.ramp for backend in members), default=1.0) == farthest:
        return {}
    total = sum(backend.spec.weight * backend.ramp for backend in members)
    return {backend: total / (backend.spec.weight * backend.ramp) for backend in members if backend.ramp < farthest}


class Pacing:
    """Holds back ramping servers by counting picks. ``changed(backend)`` is called when a server is held or freed.

    A pick costs O(1), and O(log n) for a paced server.
    """

    def __init__(self, changed: Callable[[Backend], None]) -> None:
        self.held: set[Backend] = set()
        """Servers that are held back now."""
        self._changed = changed
        self._picks = 0
        self._gaps: Mapping[Backend, float] = {}
        self._last: dict[Backend, float] = {}
        """The pick at which each server was last due, or was added. A server picked late catches up from it."""
        self._due: list[tuple[float, int, Backend]] = []
        """A heap of held servers: the pick that frees the server, a sequence number for ties, the server."""
        self._holds = 0

    def use(self, gaps: Mapping[Backend, float]) -> None:
        """Set the number of picks between two picks of each paced server."""
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
        """Drop all servers that are not in ``members``."""
        kept = set(members)
        self._gaps = {backend: gap for backend, gap in self._gaps.items() if backend in kept}
        self._due = [entry for entry in self._due if entry[2] in kept]
        heapify(self._due)
        self.held &= kept

    @property
    def held_at_next_pick(self) -> set[Backend]:
        """The held servers that are still held at the next pick."""
        return {backend for due, _, backend in self._due if due > self._picks + 1}

    def free_those_due(self) -> None:
        """Free the servers that are due. Call it before a pick."""
        while self._due and self._due[0][0] <= self._picks + 1:
            self._free(heappop(self._due)[2])

    def free_all(self) -> None:
        """Free all held servers, as no other server is left."""
        due, self._due = self._due, []
        for _, _, backend in due:
            self._free(backend)

    def _free(self, backend: Backend) -> None:
        self.held.discard(backend)
        self._changed(backend)

    def picked(self, backend: Backend) -> None:
        """Record a pick. Call it after each pick."""
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


RAMP_STEPS = 100
"""Steps of a ramp. It begins at the first step, not at 0."""


class SlowStart:
    """The ramping servers of a pool, and the progress of each."""

    def __init__(self) -> None:
        self._since: dict[Backend, float] = {}

    def note(self, backend: Backend, now: float) -> None:
        """Start or end the ramp of a server that is new or whose health changed."""
        if not backend.health.serving:
            self.end(backend)
        elif backend.starts_slowly:
            self._since[backend] = now
        backend.starts_slowly = backend.starts_slowly or backend.health.state != "checking"

    def end(self, backend: Backend) -> None:
        """End a server's ramp, if there is one."""
        self._since.pop(backend, None)
        backend.ramp = 1.0

    def step(self, duration: float, now: float) -> list[Backend]:
        """Update the ``ramp`` of each ramping server; ``duration`` is the length of a ramp. Returns these servers."""
        ramping = list(self._since)
        for backend in ramping:
            age = now - self._since[backend]
            if age >= duration:
                self.end(backend)
            else:
                backend.ramp = max(1, int(RAMP_STEPS * age / duration)) / RAMP_STEPS
        return ramping

    def __bool__(self) -> bool:
        return bool(self._since)
