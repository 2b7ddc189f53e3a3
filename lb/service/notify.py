"""Notify the service manager: sd_notify(3), over a datagram socket named in the environment.

Nothing waits for the service manager or depends on it. Without ``NOTIFY_SOCKET`` this does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque

import trio

from lb.events import Sink
from lb.events.process import NotifyFailed
from lb.net.errors import describe_error

__all__ = ["Notifier"]

NOTIFY_TIMEOUT = 5.0
"""Seconds that :meth:`Notifier.all_sent` waits. A guess."""


class Notifier:
    """Sends notifications to the service manager while :meth:`run` runs."""

    def __init__(self, sink: Sink) -> None:
        """Read the environment. Removes variables that children must not inherit."""
        self._sink = sink
        path = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._interval = _watchdog_interval()
        self._messages: deque[str] = deque()
        self._arrived = trio.Event()
        self._sent = trio.Event()
        self._main = False
        """Whether the service manager regards this process as the main process."""

    async def run(self) -> None:
        """Send notifications, and watchdog messages while this is the main process, until cancelled."""
        if not self._address:
            return
        with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            async with trio.open_nursery() as nursery:
                if self._interval is not None:
                    nursery.start_soon(self._beat, self._interval)
                await self._send(sock)

    async def _send(self, sock: trio.socket.SocketType) -> None:
        failed = False
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            while self._messages:
                try:
                    await sock.connect(self._address)  # unconnected, a full queue looks writable, unix(7): a busy loop
                    await sock.send(self._messages[0].encode())
                except OSError as error:
                    if not failed:
                        failed = True
                        self._sink(NotifyFailed(describe_error(error)))
                self._messages.popleft()
            self._sent.set()
            self._sent = trio.Event()

    async def _beat(self, interval: float) -> None:
        """Send watchdog messages. A hanging event loop does not run this task, so the messages stop."""
        while True:
            if self._main:
                self._queue("WATCHDOG=1")
            await trio.sleep(interval)

    def _queue(self, *assignments: str) -> None:
        if self._address:
            self._messages.append("\n".join(assignments))
            self._arrived.set()

    async def all_sent(self) -> None:
        """Wait until all messages are sent, up to NOTIFY_TIMEOUT."""
        with trio.move_on_after(NOTIFY_TIMEOUT):
            while self._messages:
                await self._sent.wait()

    def ready(self, status: str = "serving") -> None:
        """Report readiness: at the start, and after a reload, successful or not."""
        self._main = True
        self._queue("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Report the begin of a reload. :meth:`ready` must follow."""
        self._queue("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self, connections: int) -> None:
        """Report a graceful stop with this many open connections."""
        self._queue("STOPPING=1", f"STATUS=stopping; {connections} connections were open")

    def succeeded_by(self, pid: int) -> None:
        """Report another main process. Later messages of this process would be ignored."""
        self._queue(f"MAINPID={pid}")
        self._main = False


def _watchdog_interval() -> float | None:
    """Return seconds between watchdog messages: half of what sd_watchdog_enabled(3) allows. None if disabled."""
    pid = os.environ.pop("WATCHDOG_PID", "")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2e6
