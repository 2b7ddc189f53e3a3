"""The health of a server in a worker. The supervisor judges it, from checks and from the reports of all workers."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from healthcheck.result import Advice
from healthcheck.state import Change, Health, State
from lb.model import HealthSpec, PassiveSpec

__all__ = ["HealthStatus", "MirroredHealth"]


@attrs.frozen
class HealthStatus:
    """The health of a server, as sent to workers."""

    state: State = "up"
    success_matters_in: float = math.inf
    """Seconds until a successful connect has an effect."""
    advice: Advice = attrs.field(factory=Advice)
    """The share and administrative state from the agent check."""
    reason: str = ""
    """Why it is not up; empty if it is up."""
    age: float = math.inf
    """Seconds since its state changed; infinite if no server of its pool has kept its state for longer."""

    @classmethod
    def of(cls, health: Health, now: float, age: float) -> HealthStatus:
        return cls(health.state, health.success_matters_from - now, health.advice, health.reason, age)


class MirroredHealth(Health):
    """Forwards the results of connects, if they can have an effect, and changes only through :meth:`judged`.

    ``failed(error)`` and ``worked()`` report to the supervisor.
    """

    def __init__(
        self, status: HealthStatus, now: float, failed: Callable[[str], None], worked: Callable[[], None]
    ) -> None:
        super().__init__(None, PassiveSpec(), now)
        self._failed = failed
        self._worked = worked
        self._success_matters_from = math.inf
        self.judged(status, now)
        self.since = now - status.age

    def judged(self, status: HealthStatus, now: float) -> Change | None:
        """Apply a verdict of the supervisor, which also logs it."""
        self._success_matters_from = now + status.success_matters_in
        self.advice = status.advice
        if status.state == self.state:
            return None
        return self._become(status.state, status.reason, "active", now - status.age)

    def connect_failed(self, error: str, now: float) -> Change | None:  # noqa: ARG002 - the supervisor judges
        if self.state == "up":
            self._failed(error)
        return None

    def connected(self, now: float) -> Change | None:
        """Report a successful connect, once until the next verdict."""
        if now >= self._success_matters_from:
            self._success_matters_from = math.inf
            self._worked()
        return None

    def respec(self, spec: HealthSpec | None, passive: PassiveSpec, now: float) -> Change | None:  # noqa: ARG002
        """Do nothing: the supervisor applies the new configuration."""
        return None
