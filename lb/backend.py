"""A server at run time, with all that decides whether it is available."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from healthcheck.advice import Advice
from healthcheck.result import CheckResult
from healthcheck.state import Health, Memory
from lb.address import SocketAddress
from lb.model import PoolSpec, Server, ServerSpec
from lb.timing import Timing

__all__ = ["Backend", "NewBackend", "new_backend"]

HISTORY = 60
"""Checks remembered for the dashboard: two minutes at the default interval."""


@attrs.define(eq=False, kw_only=True)
class Backend(Server):
    """A server, with what decides whether it is available."""

    health: Health
    targets: tuple[SocketAddress, ...] = ()
    """What the address resolves to; the first is in use. Empty as long as a name could not be looked up."""
    leaving: bool = False
    """Gone from the configuration, kept for its open connections."""
    drain_deadline: float = math.inf
    """When those are closed."""
    ramp: float = 1.0
    """How far it has come of its slow start."""
    starts_slowly: bool = False
    """When it comes up next: not at the first start of all."""
    advice: Advice = attrs.field(factory=Advice)
    """What its agent asks for, as far as the strategy knows of it."""
    turned: float = -math.inf
    """When it was last closed to new connections, or opened again: by its weight, or by what its agent asks for."""
    timing: Timing | None = None
    """How long it takes; None if that is not measured."""
    failed_connects: int = 0
    last_check: CheckResult | None = None
    history: deque[bool] = attrs.field(factory=lambda: deque(maxlen=HISTORY))
    """Whether its last checks passed, the newest last."""

    def turn_from(self, target: SocketAddress) -> None:
        """Use the next of several addresses, as this one has failed."""
        if self.targets[:1] == (target,):
            self.targets = (*self.targets[1:], target)

    def set_share(self) -> None:
        """Make ``share`` of what its agent asks for, and of the ramp."""
        self.share = max(1, round(self.advice.percent * self.ramp))  # of 0 % the pool takes care, as of weight 0

    def change(self, now: float, *, spec: ServerSpec | None = None, advice: Advice | None = None) -> None:
        """Another line of the configuration, or other wishes of its agent."""
        closed = self.closed
        self.spec, self.advice = spec or self.spec, advice or self.advice
        if self.closed != closed:
            self.turned = now

    @property
    def closed(self) -> bool:
        """To new connections, by its weight or by what its agent asks for."""
        return self.spec.weight == 0 or not self.advice.wants_new

    @property
    def since(self) -> float:
        """When its state, as the status has it, changed last."""
        return max(self.health.since, self.turned)

    def memory(self, now: float) -> Memory:
        """All that another process has to know of it."""
        return attrs.evolve(self.health.memory(now), turned=None if math.isinf(self.turned) else now - self.turned)

    def recall(self, memory: Memory, now: float) -> None:
        """Go on from where another process was."""
        self.health.recall(memory, now)
        if memory.turned is not None:
            self.turned = now - memory.turned

    @property
    def full(self) -> bool:
        return 0 < self.spec.max_connections <= self.active

    @property
    def open_to_new(self) -> bool:
        """May be chosen, health aside."""
        return not (self.leaving or self.full or self.closed)

    @property
    def available(self) -> bool:
        return self.health.serving and self.open_to_new

    @property
    def state(self) -> Literal["up", "down", "ejected", "draining", "checking"]:
        """The word for it in the status; weight 0 drains as leaving does, and so does a server that wants nothing."""
        if self.leaving or (self.closed and self.health.serving):
            return "draining"
        return self.health.state


NewBackend: TypeAlias = Callable[[PoolSpec, ServerSpec, float], Backend]
"""Makes the run-time side of a server that is new in its pool; the last argument is the time."""


def new_backend(pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
    """A server that only this process knows."""
    return Backend(spec=server, health=Health(pool.health, pool.passive, now))
