"""Events as human-readable lines, with colours on a terminal. Loaded for console output only, as structlog is slow."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
from structlog.typing import EventDict

from lb.events import Event
from lb.events.fields import event_fields
from lb.model.printable import printable

__all__ = ["ConsoleLines"]


class ConsoleLines:
    """Formats events. Times are seconds since 1970."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )

    def line(self, event: Event, now: float) -> str:
        """Return the line without the newline; several lines for an exception."""
        line: EventDict = {"event": event.name, "level": event.level, **event_fields(event)}
        line["timestamp"] = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
        return str(self._render(None, event.level, _short_values(line)))


def _short_values(line: EventDict) -> EventDict:
    """Join lists with commas, omit empty values, and escape what could forge a line or control the terminal."""
    attempts = line.get("attempts")
    if attempts:
        line["attempts"] = ", ".join(f"{each['server']}: {each['error']}" for each in attempts)
    return {key: _short(value) for key, value in line.items() if value not in (None, (), [])}


def _short(value: object) -> object:
    if isinstance(value, tuple | list):
        value = ", ".join(map(str, value))
    return printable(value) if isinstance(value, str) else value
