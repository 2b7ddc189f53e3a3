"""Conversion of events to plain values, for the log and the event stream."""

from __future__ import annotations

import attrs

from lb.events.backends import BackendOverridden
from lb.events.base import Event
from lb.events.connection import Attempt, ConnectionClosed
from lb.events.process import Fault
from lb.events.request import HttpRequest

__all__ = ["event_fields"]


def event_fields(event: Event) -> dict[str, object]:
    """Return the event's keys and values, with durations rounded. The ``exc_info`` of a fault is the exception."""
    if isinstance(event, Fault):
        return {"where": event.where, "exc_info": event.exception}
    names: tuple[str, ...] = event.__match_args__  # attrs.asdict looks them up on each call, which doubles its cost
    fields = {name: getattr(event, name) for name in names}
    if isinstance(event, ConnectionClosed):
        fields["client"] = str(event.client)
        if event.peer is None:
            del fields["peer"]
        else:
            fields["peer"] = str(event.peer)
        if event.decisions is None:
            del fields["decisions"]
        else:
            fields["decisions"] = [decision.fields() for decision in event.decisions]
        fields["connect_ms"] = None if event.connect_ms is None else round(event.connect_ms, 3)
        fields["duration_ms"] = round(event.duration_ms, 3)
        fields["attempts"] = _attempts(event.attempts)
    elif isinstance(event, HttpRequest):
        fields["client"] = str(event.client)
        fields["duration_ms"] = round(event.duration_ms, 3)
        fields["wait_ms"] = None if event.wait_ms is None else round(event.wait_ms, 3)
        fields["attempts"] = _attempts(event.attempts)
    elif isinstance(event, BackendOverridden) and event.node is None:
        del fields["node"]
    return fields


def _attempts(attempts: tuple[Attempt, ...]) -> list[dict[str, object]]:
    return [{**attrs.asdict(attempt), "ms": round(attempt.ms, 3)} for attempt in attempts]
