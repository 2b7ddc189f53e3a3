"""An event as plain values: what its log line and the event stream say."""

from __future__ import annotations

import attrs

from lb.events import ConnectionClosed, Event, Fault

__all__ = ["event_fields"]


def event_fields(event: Event) -> dict[str, object]:
    """Its keys and values, rounded to what is worth reading; of a fault, ``exc_info`` is the exception."""
    if isinstance(event, Fault):
        return {"where": event.where, "exc_info": event.exception}
    names: tuple[str, ...] = event.__match_args__  # attrs.asdict asks for them anew each time, which doubles its cost
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
        fields["attempts"] = [{**attrs.asdict(attempt), "ms": round(attempt.ms, 3)} for attempt in event.attempts]
    return fields
