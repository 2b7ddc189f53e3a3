"""``lb`` commands as child processes, on a pipe or a terminal, with their output so far."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
from contextlib import asynccontextmanager

import trio

from tests.support.balancer import LB, PATIENCE

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Shown:
    """A child process and its output so far, without colours."""

    def __init__(self, process, output):
        self.process = process
        self.output = output
        """The descriptor to read. On a terminal it accepts keys as well."""
        self.text = ""
        self._matched = 0

    def press(self, keys):
        os.write(self.output, keys.encode())

    async def until(self, pattern, seconds=PATIENCE):
        """Read until the pattern matches after the previous match; return the match."""
        with trio.move_on_after(seconds):
            while not (found := re.compile(pattern).search(self.text, self._matched)):
                if not await self._read():
                    break
        assert found, f"no {pattern!r} in {self.text[self._matched :]!r}"
        self._matched = found.end()
        return found

    async def rest(self, seconds=PATIENCE):
        """Return the output until the process ends, and the exit code."""
        with trio.fail_after(seconds):
            while await self._read():
                pass
            code = await self.process.wait()
        return self.text[self._matched :], code

    async def _read(self):
        await trio.lowlevel.wait_readable(self.output)
        try:
            data = os.read(self.output, 65536)
        except OSError:  # EIO: the terminal is closed on the other side
            data = b""
        self.text = ESCAPES.sub("", self.text + data.decode(errors="ignore")).replace("\r", "")
        return bool(data)


@asynccontextmanager
async def on_pipe(*arguments):
    """Run ``lb`` with these arguments and a pipe as output."""
    output, write_end = os.pipe()
    process = await trio.lowlevel.open_process(
        [LB, *arguments], stdin=subprocess.DEVNULL, stdout=write_end, stderr=subprocess.STDOUT
    )
    os.close(write_end)
    async with _ending(process, output):
        yield Shown(process, output)


@asynccontextmanager
async def on_terminal(*arguments, lines=24, columns=80):
    """Run ``lb`` with these arguments on a pseudoterminal; yield the process and the terminal's descriptor."""
    output, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (lines, columns))
    process = await trio.lowlevel.open_process(
        [LB, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**_without_size(os.environ), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
    )
    async with _ending(process, output):
        yield Shown(process, output), terminal
    os.close(terminal)


def _without_size(environment):
    """Drop the size that pytest-xdist sets, so that the terminal's own counts."""
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
