"""The demo's servers: real processes, so that they can really be killed."""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

__all__ = ["ServerProcess"]

PROGRAM = Path(__file__).with_name("answerer.py")


class ServerProcess:
    """A server that may die and be started again, on the same port of 127.0.0.1."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        """0 = to be chosen by the system at the first start."""
        self.pid = 0
        self.alive = False
        self.died_at = -math.inf
        """When it died last, by trio's clock."""
        self._died = trio.Event()
        self._process: trio.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def keep_port(self) -> Iterator[None]:
        """Have a port, and between two lives let nobody else be given it. Raises OSError."""
        with _bound(0) as deaf:
            self.port = deaf.getsockname()[1]
            yield

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> str:
        """Live one life; returns what ended it. Cancelling kills. Started when it listens.

        Raises OSError if the port has been taken by somebody else, which :meth:`keep_port` prevents.
        """
        with _bound(self.port) as listening:
            listening.listen()
            self.port = listening.getsockname()[1]
            self._process = process = await trio.lowlevel.open_process(
                [sys.executable, "-I", "-S", str(PROGRAM), self.name, str(listening.fileno())],
                stdin=subprocess.PIPE,  # closes when this process ends, however it ends
                pass_fds=[listening.fileno()],
                process_group=0,  # out of reach of the terminal's Ctrl-C
            )
        assert process.stdin is not None  # noqa: S101 - asked for
        self.pid = process.pid
        self.alive = True
        task_status.started()
        try:
            async with process.stdin:
                return _ending(await process.wait())
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
            self.alive = False
            self.died_at = trio.current_time()
            self._died.set()
            self._died = trio.Event()

    def kill(self) -> None:
        """``kill -9``."""
        if self._process is not None:
            self._process.kill()

    async def dead_since(self, time: float) -> None:
        """Return once it has died at ``time`` or later."""
        while self.died_at < time:
            await self._died.wait()


def _bound(port: int) -> socket.socket:
    """Of the server's port. The server inherits one that listens: so it misses no connection while it starts."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
