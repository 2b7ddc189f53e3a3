"""The plan of a storm: actions with their times, from a seed. No I/O; the same seed gives the same plan.

The plan guarantees that at least one configured server is healthy at each moment, so that every session can be served
that is not open to a failing server.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

import attrs

from chaos import configs

__all__ = ["Action", "plan"]

GAP = 0.3
"""Mean seconds between actions."""
LONGEST = 3.0
"""Maximum seconds of a failure. A worker that is frozen for five counts as hanging."""
WORKERS = 2
BURST = (50, 400)
"""Minimum and maximum clients of a burst."""
FAILURES = {
    "kill": "start",
    "freeze": "thaw",
    "refuse": "listen",
    "reset": "normal",
    "half": "normal",
    "busy": "normal",
}
"""Failures of servers -> the action that ends each."""
WEIGHTS = {
    "kill": 4, "freeze": 3, "refuse": 3, "reset": 2, "half": 2, "slow": 2, "busy": 2,
    "apply": 4, "reject": 3, "kill worker": 2, "freeze worker": 1, "burst": 2,
}  # fmt: skip


@attrs.frozen
class Action:
    """An action. ``at`` is in seconds from the start; ``target`` is a server, a worker number, or a client count."""

    at: float
    kind: str
    target: str | int = ""
    text: str = attrs.field(default="", repr=False)
    """The configuration, with ``$name`` for the address of a server."""


def plan(seed: int, seconds: float, servers: Sequence[str]) -> tuple[Action, ...]:
    """Return all actions in order. All failures have ended at the end."""
    return tuple(Planner(seed, servers).actions(seconds))


class Planner:
    """Tracks the failing servers while it makes the plan."""

    def __init__(self, seed: int, servers: Sequence[str]) -> None:
        self._rng = random.Random(seed)
        self._servers = list(servers)
        self._members = set(servers)
        """Servers of the current configuration."""
        self._busy: set[str | int] = set()
        """Servers and workers with an unfinished action."""
        self._failing: set[str | int] = set()
        """Servers that fail."""
        self._ends: list[tuple[float, Action]] = []

    def actions(self, seconds: float) -> list[Action]:
        made = []
        now = 0.0
        while (now := now + self._rng.expovariate(1 / GAP)) < seconds:
            made += self._ended(now)
            kind = self._rng.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
            if (action := self._action(now, kind)) is not None:
                made.append(action)
        made += self._ended(seconds + LONGEST)
        end = made[-1].at if made else 0.0
        return [*made, Action(end, "apply", text=configs.base(self._servers))]

    def _ended(self, now: float) -> list[Action]:
        ended = []
        while self._ends and self._ends[0][0] <= now:
            _, action = heapq.heappop(self._ends)
            self._busy.discard(action.target)
            self._failing.discard(action.target)
            ended.append(action)
        return ended

    def _action(self, now: float, kind: str) -> Action | None:
        """Return an action; None if there is no target for it."""
        rng = self._rng
        if kind == "burst":
            return Action(now, kind, rng.randint(*BURST))
        if kind == "apply":
            healthy = self._healthy()
            others = [name for name in self._servers if rng.random() < 0.6]
            self._members = {rng.choice(healthy), *others}
            return Action(now, kind, text=configs.valid(rng, self._members))
        if kind == "reject":
            return Action(now, kind, text=configs.invalid(rng, self._members, rng.choice(self._healthy())))
        if kind == "kill worker":
            return self._to_one_of(range(WORKERS), now, kind, None)
        if kind == "freeze worker":
            return self._to_one_of(range(WORKERS), now, kind, "thaw worker")
        if kind == "slow":
            return self._to_one_of(self._servers, now, kind, "normal")
        healthy_members = self._members - self._failing
        spare = [name for name in self._servers if healthy_members - {name}]
        action = self._to_one_of(spare, now, kind, FAILURES[kind])
        if action is not None:
            self._failing.add(action.target)
        return action

    def _healthy(self) -> list[str]:
        return [name for name in self._servers if name not in self._failing]

    def _to_one_of(self, targets: Sequence[str | int], now: float, kind: str, end: str | None) -> Action | None:
        free = [target for target in targets if target not in self._busy]
        if not free:
            return None
        target = self._rng.choice(free)
        if end is not None:
            self._busy.add(target)
            until = now + self._rng.uniform(0.1, LONGEST)
            heapq.heappush(self._ends, (until, Action(until, end, target)))
        return Action(now, kind, target)
