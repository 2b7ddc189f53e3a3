"""Events as JSON lines."""

from __future__ import annotations

import json
import traceback

from lb.events import ConnectionClosed, Event, HttpRequest
from lb.events.fields import event_fields
from lb.log.connection_line import RecordLines
from lb.log.request_line import request_line

__all__ = ["JsonLines"]

_encode = json.JSONEncoder(default=repr, ensure_ascii=False).encode
"""Created once: json.dumps with options creates an encoder for each call, which costs more than most lines."""


class JsonLines:
    """Formats events. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._records = RecordLines()

    def line(self, event: Event, now: float) -> str:
        """Return the line without the newline."""
        if isinstance(event, ConnectionClosed):
            return self._records.line(event, now)
        if isinstance(event, HttpRequest):
            return request_line(event, self._records.timestamp(now))
        line = {"event": event.name, "level": event.level, **event_fields(event)}
        exception = line.pop("exc_info", None)
        line["timestamp"] = self._records.timestamp(now)
        if isinstance(exception, BaseException):
            line["exception"] = "".join(traceback.format_exception(exception)).rstrip("\n")
        return _encode(line)
