"""Write events to stderr as JSON or console lines, in batches outside the hot path."""

from __future__ import annotations

import os
import time
from typing import Protocol

from lb.events import ConnectionClosed, Event, LogDropped, UnloggedRequest
from lb.log.json_lines import JsonLines
from lb.log.lines import LineOutput, LineWriter, NewOutput
from lb.model import LogSpec

__all__ = ["Log"]

SEVERITY = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Log:
    """An event sink that writes log lines. :meth:`configure` applies to the next event.

    ``output`` creates the destination of lines, instead of ``fd``. Its argument is a callback for dropped lines.
    """

    def __init__(self, spec: LogSpec, *, fd: int = 2, output: NewOutput | None = None) -> None:
        self._fd = fd
        self._lines: _Lines
        self._output: LineOutput = output(self._dropped) if output else LineWriter(fd, self._dropped)
        self.run = self._output.run
        self.flush = self._output.flush
        self.write = self._output.write
        self.configure(spec)

    def _dropped(self, lines: int) -> None:
        self(LogDropped(lines))

    def configure(self, spec: LogSpec) -> None:
        self._spec = spec
        self._threshold = SEVERITY[spec.level]
        console = spec.format == "console" or (spec.format == "auto" and os.isatty(self._fd))
        self._lines = _console_lines(self._fd) if console else JsonLines()

    def __call__(self, event: Event) -> None:
        if SEVERITY[event.level] < self._threshold:
            return
        unwanted = not self._spec.connections if isinstance(event, ConnectionClosed) else type(event) is UnloggedRequest
        if not unwanted:
            self.write(self._lines.line(event, time.time()))


class _Lines(Protocol):
    def line(self, event: Event, now: float) -> str:
        """Format an event."""


def _console_lines(fd: int) -> _Lines:
    from lb.log.console_lines import ConsoleLines  # noqa: PLC0415 - structlog and rich take 0.1 s to import

    return ConsoleLines(colors=os.isatty(fd))
