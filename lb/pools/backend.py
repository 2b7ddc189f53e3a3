"""A server at run time, with its health and its availability."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from healthcheck.result import Advice, CheckResult
from healthcheck.state import Health, HealthSnapshot
from lb.model import PoolSpec, Server, ServerSpec
from lb.model.address import SocketAddress
from lb.model.timing import Timing

__all__ = ["Backend", "BackendState", "NewBackend", "new_backend"]

BackendState: TypeAlias = Literal["up", "down", "ejected", "draining", "checking"]
"""A server's state in the admin API."""

CHECK_HISTORY = 60
"""Check results kept for the dashboard: two minutes at the default interval."""


@attrs.define(eq=False, kw_only=True)
class Backend(Server):
    """A running server of a pool, with its health and its availability."""

    health: Health
    targets: tuple[SocketAddress, ...] = ()
    """The resolved addresses; the first is in use. Empty until a name lookup has succeeded."""
    own: frozenset[SocketAddress] = frozenset()
    """Those of its addresses on which this process listens itself: connects to them fail."""
    leaving: bool = False
    """Removed from the configuration, kept for its open connections."""
    drain_deadline: float = math.inf
    """When the open connections of a leaving server are closed."""
    ramp: float = 1.0
    """Progress of the slow start, 0 to 1."""
    starts_slowly: bool = False
    """Slow start applies when it comes up next; not at the start of the balancer."""
    advice: Advice = attrs.field(factory=Advice)
    """The agent check's share and administrative state, as passed to the strategy."""
    turned: float = -math.inf
    """When its weight or its agent check last closed it to new connections, or opened it again, while it was up."""
    timing: Timing | None = None
    """Measured response times; None if not measured."""
    failed_connects: int = 0
    last_check: CheckResult | None = None
    history: deque[bool] = attrs.field(factory=lambda: deque(maxlen=CHECK_HISTORY))
    """Whether the last checks passed; the newest is last."""
    has_passed: bool = False
    """A check has passed since this process started."""

    def try_next_address(self, target: SocketAddress) -> None:
        """Switch to the next of several addresses, after ``target`` failed."""
        if self.targets[:1] == (target,):
            self.targets = (*self.targets[1:], target)

    def set_share(self) -> None:
        """Compute ``share`` from the agent check and the slow start."""
        # At least 1: at 0 % the server is not available, as at weight 0.
        self.share = max(1, round(self.advice.percent * self.ramp))

    def change(self, now: float, *, spec: ServerSpec | None = None, advice: Advice | None = None) -> None:
        """Set a new configuration or a new agent check result. One that is down stays so, since the same time."""
        closed = self.closed
        self.spec, self.advice = spec or self.spec, advice or self.advice
        if self.closed != closed and self.health.serving:
            self.turned = now

    @property
    def closed(self) -> bool:
        """True if its weight or its agent check closes it to new connections."""
        return self.spec.effective_weight == 0 or not self.advice.wants_new

    @property
    def since(self) -> float:
        """When ``state`` last changed."""
        return max(self.health.since, self.turned)

    def memory(self, now: float) -> HealthSnapshot:
        """Return the state to hand over to another process."""
        return attrs.evolve(self.health.memory(now), turned=None if math.isinf(self.turned) else now - self.turned)

    def recall(self, memory: HealthSnapshot, now: float) -> None:
        """Restore the state of another process."""
        self.health.recall(memory, now)
        if memory.turned is not None:
            self.turned = now - memory.turned

    @property
    def full(self) -> bool:
        return 0 < self.spec.max_connections <= self.active

    @property
    def open_to_new(self) -> bool:
        """True if it may be chosen, health aside."""
        return not (self.leaving or self.full or self.closed)

    @property
    def in_service(self) -> bool:
        """True if it is available, or would be if it were not full."""
        return self.health.serving and not (self.leaving or self.closed)

    @property
    def available(self) -> bool:
        return self.health.serving and self.open_to_new

    @property
    def state(self) -> BackendState:
        """The state in the admin API. A server drains if it leaves, at weight 0, or if its agent check says so."""
        if self.leaving or (self.closed and self.health.serving):
            return "draining"
        return self.health.state


NewBackend: TypeAlias = Callable[[PoolSpec, ServerSpec, float], Backend]
"""Creates the running server for a new entry of a pool; the last argument is the time."""


def new_backend(pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
    """Create a server whose health is judged in this process."""
    return Backend(spec=server, health=Health(pool.health, pool.passive, now))
