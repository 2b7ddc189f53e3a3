"""The servers of the demo: processes that can be killed and restarted."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from lb.net.processes import exit_text

__all__ = ["ServerProcess"]

PROGRAM = Path(__file__).with_name("answerer.py")


class ServerProcess:
    """A server process that can be killed and restarted on the same port of 127.0.0.1."""

    def __init__(self, name: str, delay: float = 0.0) -> None:
        """``delay`` is in seconds: how slow its answers are."""
        self.name = name
        self._delay = delay
        self.port = 0
        """0 = the system chooses a port at the first start."""
        self.pid = 0
        self.alive = False
        self.died_at = -math.inf
        """Time of the last exit, by trio's clock."""
        self._died = trio.Event()
        self._process: trio.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def keep_port(self) -> Iterator[None]:
        """Reserve a port, so that no other program gets it while the server is down. Raises OSError."""
        with _bound(0) as reserved:
            self.port = reserved.getsockname()[1]
            yield

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> str:
        """Run the process until it exits; return how it ended. Cancellation kills it. Started when it listens.

        Raises OSError if another program has taken the port, which :meth:`keep_port` prevents.
        """
        with _bound(self.port) as listening:
            listening.listen()
            self.port = listening.getsockname()[1]
            self._process = process = await trio.lowlevel.open_process(
                [sys.executable, "-I", "-S", str(PROGRAM), self.name, str(listening.fileno()), str(self._delay)],
                stdin=subprocess.PIPE,  # closes whenever this process ends
                pass_fds=[listening.fileno()],
                process_group=0,  # out of reach of the terminal's Ctrl-C
            )
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        self.pid = process.pid
        self.alive = True
        task_status.started()
        try:
            async with process.stdin:
                return exit_text(await process.wait())
        finally:
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
            self.alive = False
            self.died_at = trio.current_time()
            self._died.set()
            self._died = trio.Event()

    def kill(self) -> None:
        """Kill the process, as ``kill -9`` does."""
        if self._process is not None:
            self._process.kill()

    async def dead_since(self, time: float) -> None:
        """Wait until the process has exited at ``time`` or later."""
        while self.died_at < time:
            await self._died.wait()


def _bound(port: int) -> socket.socket:
    """Return a socket bound to the port. The server inherits it listening, so no connection is lost while it starts."""
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock
