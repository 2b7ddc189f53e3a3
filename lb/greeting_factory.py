"""Which greeting a listener has, from its configuration."""

from __future__ import annotations

from lb.greeting import Gate, Greeting, Step
from lb.model import ListenerSpec

__all__ = ["make_gate"]


def make_gate(spec: ListenerSpec) -> Gate | None:
    """What clients have to pass; None for a plain listener, where they go on at once."""
    steps: list[Step] = []
    return Greeting(steps, spec.header_timeout) if steps else None
