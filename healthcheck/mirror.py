"""The health of a server as a worker knows it: judged elsewhere, from the news of all workers and from checks."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from healthcheck.advice import Advice
from healthcheck.state import Change, Health, State
from lb.model import HealthSpec, PassiveSpec

__all__ = ["MirroredHealth", "Standing"]


@attrs.frozen
class Standing:
    """How it stands with a server."""

    state: State = "up"
    success_matters_in: float = math.inf
    """Seconds until a connect that works would change anything."""
    advice: Advice = attrs.field(factory=Advice)
    """What the server's agent asks for."""
    reason: str = ""
    """Why it is not up."""

    @classmethod
    def of(cls, health: Health, now: float) -> Standing:
        return cls(health.state, health.success_matters_from - now, health.advice, health.reason)


class MirroredHealth(Health):
    """Passes on what traffic found, if it can matter, and changes by :meth:`judged` only.

    ``failed(error)`` and ``worked()`` take the news to where the server is judged.
    """

    def __init__(
        self, standing: Standing, now: float, failed: Callable[[str], None], worked: Callable[[], None]
    ) -> None:
        super().__init__(None, PassiveSpec(), now)
        self._failed = failed
        self._worked = worked
        self._success_matters_from = math.inf
        self.judged(standing, now)

    def judged(self, standing: Standing, now: float) -> Change | None:
        """Take a verdict. It is told in the log where it was made."""
        self._success_matters_from = now + standing.success_matters_in
        self.advice = standing.advice
        if standing.state == self.state:
            return None
        return self._become(standing.state, standing.reason, "active", now)

    def connect_failed(self, error: str, now: float) -> Change | None:  # noqa: ARG002 - judged where the news goes
        if self.state == "up":
            self._failed(error)
        return None

    def connected(self, now: float) -> Change | None:
        """One success is enough to tell, until there is a new verdict."""
        if now >= self._success_matters_from:
            self._success_matters_from = math.inf
            self._worked()
        return None

    def respec(self, spec: HealthSpec | None, passive: PassiveSpec, now: float) -> Change | None:  # noqa: ARG002
        """New rules are applied where the server is judged."""
        return None
