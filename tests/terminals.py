"""Commands of ours as child processes, on a pipe or on a terminal, and what they have written so far."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
from contextlib import asynccontextmanager

import trio

from tests.balancer import LB

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Shown:
    """A child process, and what it has written so far, without colours."""

    def __init__(self, process, output):
        self.process = process
        self.output = output
        """Of a terminal, this takes keys as well."""
        self.text = ""
        self._matched = 0

    def press(self, keys):
        os.write(self.output, keys.encode())

    async def until(self, pattern, seconds=20):
        """Read on until this comes, after what the last call found; returns the match."""
        with trio.move_on_after(seconds):
            while not (found := re.compile(pattern).search(self.text, self._matched)):
                if not await self._read():
                    break
        assert found, f"no {pattern!r} in {self.text[self._matched :]!r}"
        self._matched = found.end()
        return found

    async def rest(self, seconds=20):
        """All that it writes until it ends, and its exit code."""
        with trio.fail_after(seconds):
            while await self._read():
                pass
            code = await self.process.wait()
        return self.text[self._matched :], code

    async def _read(self):
        await trio.lowlevel.wait_readable(self.output)
        try:
            data = os.read(self.output, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            data = b""
        self.text = ESCAPES.sub("", self.text + data.decode(errors="ignore")).replace("\r", "")
        return bool(data)


@asynccontextmanager
async def on_pipe(*words):
    """``lb`` with these words, whose output is a pipe."""
    output, theirs = os.pipe()
    process = await trio.lowlevel.open_process(
        [LB, *words], stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.STDOUT
    )
    os.close(theirs)
    async with _ending(process, output):
        yield Shown(process, output)


@asynccontextmanager
async def on_terminal(*words, lines=24, columns=80):
    """``lb`` with these words on a terminal of its own; yields it and the terminal's descriptor."""
    output, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (lines, columns))
    process = await trio.lowlevel.open_process(
        [LB, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**_without_a_size(os.environ), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
    )
    async with _ending(process, output):
        yield Shown(process, output), terminal
    os.close(terminal)


def _without_a_size(environment):
    """The terminal's own counts; pytest-xdist sets that of its terminal."""
    return {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}


@asynccontextmanager
async def _ending(process, output):
    try:
        yield
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        os.close(output)
