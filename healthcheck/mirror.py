"""The health of a server in a worker. The supervisor judges it, from checks and from the reports of all workers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from healthcheck.result import Advice
from healthcheck.state import Change, Health, State
from lb.model import HealthSpec, PassiveSpec

__all__ = ["HealthStatus", "MirroredHealth", "Use"]

Use: TypeAlias = Literal["connect", "request"]
"""What a client used a server for."""


@attrs.frozen
class HealthStatus:
    """The health of a server, as sent to workers."""

    state: State = "up"
    success_matters_in: float = math.inf
    """Seconds until a successful connect or request has an effect."""
    advice: Advice = attrs.field(factory=Advice)
    """The share and administrative state from the agent check."""
    reason: str = ""
    """Why it is not up; empty if it is up."""
    age: float = math.inf
    """Seconds since its state changed; infinite if no server of its pool has kept its state for longer."""
    requests_failed: bool = False
    """Only a successful request has an effect, no connect."""

    @classmethod
    def of(cls, health: Health, now: float, age: float) -> HealthStatus:
        matters_in = health.success_matters_from - now
        return cls(health.state, matters_in, health.advice, health.reason, age, health.requests_failed)


class MirroredHealth(Health):
    """Forwards the results of connects and requests, if they can have an effect. Changes only through :meth:`judged`.

    ``failed(what, error)`` and ``worked(what)`` report to the supervisor.
    """

    def __init__(
        self, status: HealthStatus, now: float, failed: Callable[[Use, str], None], worked: Callable[[Use], None]
    ) -> None:
        super().__init__(None, PassiveSpec(), now)
        self._report_failure = failed
        self._report_success = worked
        self._success_matters_from = math.inf
        self.judged(status, now)
        self.since = now - status.age

    def judged(self, status: HealthStatus, now: float) -> Change | None:
        """Apply a verdict of the supervisor, which also logs it."""
        self._success_matters_from = now + status.success_matters_in
        self.requests_failed = status.requests_failed
        self.advice = status.advice
        if status.state == self.state:
            return None
        return self._become(status.state, status.reason, "active", now - status.age)

    def connect_failed(self, error: str, now: float) -> Change | None:  # noqa: ARG002 - the supervisor judges
        if self.state == "up":
            self._report_failure("connect", error)
        return None

    def connected(self, now: float) -> Change | None:
        """Report a successful connect, once until the next verdict."""
        if not self.requests_failed and self._success_matters(now):
            self._report_success("connect")
        return None

    def request_failed(self, text: str, now: float) -> Change | None:  # noqa: ARG002 - the supervisor judges
        if self.state == "up":
            self._report_failure("request", text)
        return None

    def request_succeeded(self, now: float) -> None:
        """Report a successful request, once until the next verdict."""
        if self._success_matters(now):
            self._report_success("request")

    def _success_matters(self, now: float) -> bool:
        if now < self._success_matters_from:
            return False
        self._success_matters_from = math.inf
        return True

    def respec(self, spec: HealthSpec | None, passive: PassiveSpec, now: float) -> Change | None:  # noqa: ARG002
        """Do nothing: the supervisor applies the new configuration."""
        return None
