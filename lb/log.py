"""Events as log lines on stderr: JSON for programs, colours for people. Written off the hot path, in batches."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

import attrs
import structlog
import trio
from structlog.typing import Processor

from lb.events import ConnectionClosed, Event, Fault, LogDropped
from lb.model import LogSpec
from lb.record_line import RecordLines

__all__ = ["LineOutput", "LineQueue", "LineWriter", "Log"]

MOST_LINES = 10_000
"""Lines kept for a reader that is slow; more are dropped and counted. A guess: about 4 MB."""
GATHER = 0.02
"""Seconds that lines gather before they are written together."""
LAST_CHANCE = 1.0
"""Seconds that the last lines may take at exit."""
SEVERITY = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LineQueue:
    """Lines on their way out, so many at most; what is lost beyond that is counted."""

    def __init__(self) -> None:
        self.lost = 0
        self._texts: deque[str] = deque()
        self._count = 0
        self._arrived = trio.Event()

    def __len__(self) -> int:
        return self._count

    def put(self, text: str, lines: int = 1) -> None:
        """Take one line or several, without the last one's end."""
        if self._count + lines > MOST_LINES:
            self.lost += lines
            return
        self._texts.append(text)
        self._count += lines
        self._arrived.set()

    def say_lost(self, dropped: Callable[[int], None]) -> None:
        """Tell ``dropped`` how many were lost since the last time, if any."""
        if self.lost:
            lost, self.lost = self.lost, 0
            dropped(lost)

    async def gather(self) -> None:
        """Wait for a line, and a while longer for others."""
        await self._arrived.wait()
        await trio.sleep(GATHER)
        self._arrived = trio.Event()

    def take(self) -> str:
        """All that is here, each line with its end."""
        text = "".join(f"{text}\n" for text in self._texts)
        self._texts.clear()
        self._count = 0
        return text


class LineOutput(Protocol):
    """Where lines go: to a descriptor, or to a process that has one."""

    def write(self, text: str, lines: int = 1) -> None:
        """Take one line or several, without the last one's end."""

    async def run(self) -> None:
        """Pass on what arrives, for ever."""

    def flush(self) -> None:
        """Pass on what is left, now."""


class LineWriter:
    """Writes lines to a descriptor from one trio task, in a worker thread: a stuck reader must not stop the traffic."""

    def __init__(self, fd: int, dropped: Callable[[int], None]) -> None:
        self._fd = fd
        self._lines = LineQueue()
        self._batch = b""
        """What the thread is to write next."""
        self._writing = threading.Lock()
        """Held by whoever takes the batch, until it is written."""
        self._dropped = dropped
        self.write = self._lines.put

    async def run(self) -> None:
        """Write what arrives, for ever; when cancelled, what is left, within a second."""
        try:
            while True:
                await self._lines.gather()
                self._batch = self._take()
                failed = await trio.to_thread.run_sync(self._write_batch, abandon_on_cancel=True)
                self._lines.lost += failed
                if not failed:  # else it could not be said either
                    self._lines.say_lost(self._dropped)
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what is left now; gives up on a reader that takes nothing for a second.

        That may include a batch whose thread was abandoned: it has begun, and is waited for, or will find nothing.
        """
        if not self._writing.acquire(timeout=LAST_CHANCE):
            return
        try:
            batch, self._batch = self._batch, b""
            self._write_in_time(memoryview(batch + self._take()))
        finally:
            self._writing.release()

    def _write_in_time(self, data: memoryview) -> None:
        give_up_at = time.monotonic() + LAST_CHANCE
        while data and select.select([], [self._fd], [], max(0, give_up_at - time.monotonic()))[1]:
            try:
                data = data[os.write(self._fd, data[: select.PIPE_BUF]) :]
            except OSError:  # nobody reads any more, or the disk is full, and there is no other place to say so
                return

    def _take(self) -> bytes:
        return self._lines.take().encode(errors="backslashreplace")

    def _write_batch(self) -> int:
        """In a thread, which may be abandoned but not stopped. Returns how many lines could not be written."""
        with self._writing:
            batch, self._batch = self._batch, b""
            data = memoryview(batch)
            while data:
                try:
                    data = data[os.write(self._fd, data) :]
                except BlockingIOError:  # somebody made our stderr non-blocking
                    select.select([], [self._fd], [])
                except OSError:  # the same
                    return bytes(data).count(b"\n")
            return 0


NewOutput: TypeAlias = Callable[[Callable[[int], None]], LineOutput]


class Log:
    """The observer that writes events; call it with one. :meth:`configure` takes effect for the next.

    ``output`` makes from a callback, which hears of lost lines, what takes the lines to ``fd``.
    """

    def __init__(self, spec: LogSpec, *, fd: int = 2, output: NewOutput | None = None) -> None:
        self._fd = fd
        self._records = RecordLines()
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
        self._console = spec.format == "console" or (spec.format == "auto" and os.isatty(self._fd))
        self._processors = _processors(console=self._console, colors=os.isatty(self._fd))

    def __call__(self, event: Event) -> None:
        if SEVERITY[event.level] < self._threshold:
            return
        if isinstance(event, ConnectionClosed):
            if not self._spec.connections:
                return
            if not self._console:
                self.write(self._records.line(event, time.time()))
                return
        line: object = {"event": event.name, "level": event.level, **_fields(event)}
        for processor in self._processors:
            line = processor(None, event.level, line)  # type: ignore[arg-type]
        self.write(str(line))


def _fields(event: Event) -> dict[str, object]:
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
        fields["connect_ms"] = None if event.connect_ms is None else round(event.connect_ms, 3)
        fields["duration_ms"] = round(event.duration_ms, 3)
        fields["attempts"] = [{**attrs.asdict(attempt), "ms": round(attempt.ms, 3)} for attempt in event.attempts]
    return fields


_encode = json.JSONEncoder(default=repr, ensure_ascii=False).encode
"""Made once: json.dumps with options makes an encoder each time, which costs more than most lines."""


def _processors(*, console: bool, colors: bool) -> list[Processor]:
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    if console:
        pretty = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
        return [timestamp, _short_values, pretty]
    return [
        timestamp,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(lambda line, **_: _encode(line)),
    ]


def _short_values(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """For people: lists as words, nothing where there is nothing."""
    attempts = line.get("attempts")
    if attempts:
        line["attempts"] = ", ".join(f"{each['server']}: {each['error']}" for each in attempts)
    return {
        key: ", ".join(value) if isinstance(value, tuple | list) else value
        for key, value in line.items()
        if value not in (None, (), [])
    }
