"""Servers that have come up ramp to their full weight: ``slow_start``. Time is passed in."""

from __future__ import annotations

from lb.backend import Backend

__all__ = ["STEPS", "SlowStart"]

STEPS = 100
"""A ramp rises by this part of the weight at a time, and begins with one such part, not with nothing."""


class SlowStart:
    """Which servers of a pool ramp, and how far each has come."""

    def __init__(self) -> None:
        self._since: dict[Backend, float] = {}

    def note(self, backend: Backend, now: float) -> None:
        """It is new, or its health has changed."""
        if not backend.health.serving:
            self.end(backend)
        elif backend.starts_slowly:
            self._since[backend] = now
        backend.starts_slowly = backend.starts_slowly or backend.health.state != "checking"

    def end(self, backend: Backend) -> None:
        """It is out again, or gone; fine if it does not ramp."""
        self._since.pop(backend, None)
        backend.ramp = 1.0

    def step(self, duration: float, now: float) -> list[Backend]:
        """Let those that ramp, over so many seconds, have what is theirs by now; returns them."""
        ramping = list(self._since)
        for backend in ramping:
            age = now - self._since[backend]
            if age >= duration:
                self.end(backend)
            else:
                backend.ramp = max(1, int(STEPS * age / duration)) / STEPS
        return ramping

    def __bool__(self) -> bool:
        return bool(self._since)
