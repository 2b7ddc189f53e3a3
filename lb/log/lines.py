"""Output of log lines: a bounded queue, written in batches by a thread."""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

import trio

from lb.net.threads import Threads

__all__ = ["LineOutput", "LineQueue", "LineWriter", "NewOutput", "whole_lines"]

MAX_QUEUED_LINES = 10_000
"""Maximum queued lines for a slow reader; further lines are dropped and counted. A guess: about 4 MB."""
MAX_QUEUED_TEXT = 1 << 24
"""Queued characters above which lines are dropped too: clients choose how long the paths of their requests are."""
GATHER = 0.02
"""Seconds to collect lines into a batch."""
FLUSH_TIMEOUT = 1.0
"""Seconds to wait for the last write at exit."""


class LineQueue:
    """A queue of up to MAX_QUEUED_LINES lines, bounded in characters too. Counts dropped lines."""

    def __init__(self) -> None:
        self.lost = 0
        self._texts: deque[str] = deque()
        self._count = 0
        self._size = 0
        self._arrived = trio.Event()

    def __len__(self) -> int:
        return self._count

    def put(self, text: str, lines: int = 1) -> None:
        """Add one or more lines, without the final newline."""
        if self._count + lines > MAX_QUEUED_LINES or self._size > MAX_QUEUED_TEXT:
            self.lost += lines
            return
        self._texts.append(text)
        self._count += lines
        self._size += len(text)
        self._arrived.set()

    def report_lost(self, dropped: Callable[[int], None]) -> None:
        """Call ``dropped`` with the number of lines dropped since the last call, if any."""
        if self.lost:
            lost, self.lost = self.lost, 0
            dropped(lost)

    async def gather(self) -> None:
        """Wait for a line, then GATHER seconds for further lines."""
        await self._arrived.wait()
        await trio.sleep(GATHER)
        self._arrived = trio.Event()

    def take(self) -> str:
        """Remove and return all lines, each with a newline."""
        text = "".join(f"{text}\n" for text in self._texts)
        self._texts.clear()
        self._count = self._size = 0
        return text


class LineOutput(Protocol):
    """Destination of log lines: a descriptor, or a process with a descriptor."""

    def write(self, text: str, lines: int = 1) -> None:
        """Add one or more lines, without the final newline."""

    async def run(self) -> None:
        """Forward lines until cancelled."""

    def flush(self) -> None:
        """Forward the remaining lines now."""


def whole_lines(data: memoryview) -> memoryview:
    """Return the first lines that may be written at once: at most PIPE_BUF bytes, or one line that is longer.

    A pipe takes so much in one piece (pipe(7)). During an upgrade, two processes write, and their lines must not mix.
    """
    if len(data) <= select.PIPE_BUF:
        return data
    end = bytes(data[: select.PIPE_BUF]).rfind(b"\n") + 1
    if not end:
        end = bytes(data).find(b"\n") + 1 or len(data)
    return data[:end]


class LineWriter:
    """Writes lines to a descriptor in a thread: a blocked reader must not stop the traffic."""

    def __init__(self, fd: int, dropped: Callable[[int], None]) -> None:
        self._fd = fd
        self._is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
        self._lines = LineQueue()
        self._batch = b""
        """The next batch for the thread."""
        self._writing = threading.Lock()
        """Held from taking the batch until it is written."""
        self._dropped = dropped
        self._thread = Threads(1)
        self.write = self._lines.put

    async def run(self) -> None:
        """Write lines until cancelled; then write the rest, within a second."""
        try:
            while True:
                await self._lines.gather()
                self._batch = self._take()
                failed = await self._thread.run(self._write_batch)
                self._lines.lost += failed
                if not failed:  # else the report could not be written either
                    self._lines.report_lost(self._dropped)
        finally:
            self.flush()

    def flush(self) -> None:
        """Write the remaining lines now. Gives up if the reader takes nothing for a second.

        Includes the batch of an abandoned thread: waits if the thread is writing it, else takes it.
        """
        if not self._writing.acquire(timeout=FLUSH_TIMEOUT):
            return
        try:
            batch, self._batch = self._batch, b""
            self._write_in_time(memoryview(batch + self._take()))
        finally:
            self._writing.release()

    def _write_in_time(self, data: memoryview) -> None:
        deadline = time.monotonic() + FLUSH_TIMEOUT
        while data and select.select([], [self._fd], [], max(0, deadline - time.monotonic()))[1]:
            try:
                data = data[os.write(self._fd, whole_lines(data)) :]
            except OSError:  # the reader is gone or the disk is full, and there is no other place to report it
                return

    def _take(self) -> bytes:
        return self._lines.take().encode(errors="backslashreplace")

    def _write_batch(self) -> int:
        """Write the batch in a thread, which may be abandoned. Return the number of lines that could not be written."""
        with self._writing:
            batch, self._batch = self._batch, b""
            data = memoryview(batch)
            while data:
                try:
                    data = data[os.write(self._fd, whole_lines(data) if self._is_pipe else data) :]
                except BlockingIOError:  # another process has made our stderr non-blocking
                    select.select([], [self._fd], [])
                except OSError:  # as above
                    return bytes(data).count(b"\n")
            return 0


NewOutput: TypeAlias = Callable[[Callable[[int], None]], LineOutput]
