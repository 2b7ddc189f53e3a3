"""What a storm does and when, from a seed. Pure; the same seed gives the same plan.

The plan keeps one promise: at each moment at least one server of the configuration is well, so that every session could
be saved that is not open to a server that fails.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

import attrs

from chaos import configs

__all__ = ["Action", "plan"]

GAP = 0.3
"""Seconds between actions, on average."""
LONGEST = 3.0
"""Seconds that something lasts, at most. A worker that is frozen for five would be taken for one that hangs."""
WORKERS = 2
BURST = (50, 400)
"""Clients that come at once."""
FAILURES = {"kill": "start", "freeze": "thaw", "refuse": "listen", "reset": "normal", "half": "normal"}
"""How servers fail, and what ends it."""
WEIGHTS = {
    "kill": 4, "freeze": 3, "refuse": 3, "reset": 2, "half": 2, "slow": 2,
    "apply": 4, "reject": 3, "kill worker": 2, "freeze worker": 1, "burst": 2,
}  # fmt: skip


@attrs.frozen
class Action:
    """``at`` in seconds from the start; ``target`` a server, a worker's number, or how many clients."""

    at: float
    kind: str
    target: str | int = ""
    text: str = attrs.field(default="", repr=False)
    """The configuration, with ``$name`` for the address of a server."""


def plan(seed: int, seconds: float, servers: Sequence[str]) -> tuple[Action, ...]:
    """All actions in their order. Everything that is broken is whole again at the end."""
    return tuple(Planner(seed, servers).actions(seconds))


class Planner:
    """Knows who is well while it makes the plan."""

    def __init__(self, seed: int, servers: Sequence[str]) -> None:
        self._rng = random.Random(seed)
        self._servers = list(servers)
        self._members = set(servers)
        """Those that the configuration has."""
        self._busy: set[str | int] = set()
        """Servers and workers that something is done to, until its end."""
        self._failing: set[str | int] = set()
        """The servers among them that fail."""
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
        """None if there is nobody to do it to."""
        rng = self._rng
        if kind == "burst":
            return Action(now, kind, rng.randint(*BURST))
        if kind == "apply":
            well = self._well()
            others = [name for name in self._servers if rng.random() < 0.6]
            self._members = {rng.choice(well), *others}
            return Action(now, kind, text=configs.valid(rng, self._members))
        if kind == "reject":
            return Action(now, kind, text=configs.invalid(rng, self._members, rng.choice(self._well())))
        if kind == "kill worker":
            return self._to_one_of(range(WORKERS), now, kind, None)
        if kind == "freeze worker":
            return self._to_one_of(range(WORKERS), now, kind, "thaw worker")
        if kind == "slow":
            return self._to_one_of(self._servers, now, kind, "normal")
        well_members = self._members - self._failing
        spare = [name for name in self._servers if well_members - {name}]
        action = self._to_one_of(spare, now, kind, FAILURES[kind])
        if action is not None:
            self._failing.add(action.target)
        return action

    def _well(self) -> list[str]:
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
