"""The servers as whoever gives the orders sees them: processes that can be killed, frozen and told to fail."""

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
"""Seconds for an answer to an order. A guess: a busy machine may take one to start Python."""


def free_port(rng: random.Random) -> int:
    """A port that is free, and stays so while its server is dead: the system hands out none below 32768 by itself."""
    for port in rng.sample(range(15_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no free port found")


class ServerProcess:
    """One of them; ``report(line)`` hears what it has to say."""

    def __init__(self, name: str, report: Callable[[str], None]) -> None:
        self.name = name
        self.port = free_port(random.Random())
        self._report = report
        self._answered = trio.Event()
        self._process: trio.Process

    async def start(self, nursery: trio.Nursery) -> None:
        """(Re)start on the same port; returns when it listens. Raises trio.TooSlowError."""
        self._answered = trio.Event()
        self._process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "chaos.server", str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        nursery.start_soon(self._listen_to, self._process)
        await self._answer()

    async def _listen_to(self, process: trio.Process) -> None:
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

    async def order(self, order: str) -> None:
        """Returns when it is obeyed. Raises trio.TooSlowError."""
        self._answered = trio.Event()
        assert self._process.stdin is not None
        await self._process.stdin.send_all(order.encode() + b"\n")
        await self._answer()

    async def _answer(self) -> None:
        with trio.fail_after(PATIENCE):
            await self._answered.wait()

    async def kill(self) -> None:
        """kill -9; returns when its sockets are closed."""
        self._process.kill()
        await self._process.wait()
        assert self._process.stdin is not None
        await self._process.stdin.aclose()

    def freeze(self) -> None:
        """The system goes on accepting for it, but nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)
