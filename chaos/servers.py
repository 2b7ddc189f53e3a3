"""Server processes that can be killed, frozen, and made to fail."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import trio

__all__ = ["ServerProcess", "free_port"]

PATIENCE = 30.0
"""Timeout in seconds of a command. An estimate: a busy machine may take a second to start Python."""


def free_port(rng: random.Random) -> int:
    """Return a free port. It stays free while its server is dead: the system assigns no ports below 32768 by itself."""
    for port in rng.sample(range(15_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free port found")


class ServerProcess:
    """A server process. Calls ``report(line)`` with its reports."""

    def __init__(self, name: str, report: Callable[[str], None]) -> None:
        self.name = name
        self.port = free_port(random.Random())
        self._report = report
        self._answered = trio.Event()
        self._process: trio.Process

    async def start(self, nursery: trio.Nursery) -> None:
        """Start or restart on the same port; return when it listens. Raises trio.TooSlowError."""
        self._answered = trio.Event()
        self._process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "chaos.server", str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        nursery.start_soon(self._read_reports, self._process)
        await self._wait_for_ok()

    async def _read_reports(self, process: trio.Process) -> None:
        assert process.stdout is not None
        rest = b""
        async with process.stdout as reports:
            async for chunk in reports:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line == b"ok":
                        self._answered.set()
                    else:
                        self._report(line.decode())

    async def command(self, command: str) -> None:
        """Send a command; return when it is done. Raises trio.TooSlowError."""
        self._answered = trio.Event()
        assert self._process.stdin is not None
        await self._process.stdin.send_all(command.encode() + b"\n")
        await self._wait_for_ok()

    async def _wait_for_ok(self) -> None:
        with trio.fail_after(PATIENCE):
            await self._answered.wait()

    async def kill(self) -> None:
        """Kill the process; return when its sockets are closed."""
        self._process.kill()
        await self._process.wait()
        assert self._process.stdin is not None
        await self._process.stdin.aclose()

    def freeze(self) -> None:
        """Stop the process: the system still accepts connections, but nothing replies."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue the process."""
        self._process.send_signal(signal.SIGCONT)
