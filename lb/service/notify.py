"""What the service manager is told: sd_notify(3), over a datagram socket that it names in the environment.

Nothing here waits for it, and nothing depends on it. Without ``NOTIFY_SOCKET`` it all does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque

import trio

from lb.errors import describe_error
from lb.events import Sink
from lb.service_events import NotifyFailed

__all__ = ["Notifier"]

PATIENCE = 5.0
"""Seconds that words may take which somebody waits for. A guess."""


class Notifier:
    """Tells how things stand; :meth:`run` must be running for anything to be sent."""

    def __init__(self, sink: Sink) -> None:
        """Read the environment, and take the words out that are not for children."""
        self._sink = sink
        path = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._interval = _watchdog_interval()
        self._messages: deque[str] = deque()
        self._arrived = trio.Event()
        self._sent = trio.Event()
        self._main = False
        """This process is the service, as far as the service manager knows."""

    async def run(self) -> None:
        """Send what there is to say, and signs of life while this process is the service; for ever."""
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
                    await sock.connect(self._address)  # or a full queue would look like room, unix(7): a busy loop
                    await sock.send(self._messages[0].encode())
                except OSError as error:
                    if not failed:
                        failed = True
                        self._sink(NotifyFailed(describe_error(error)))
                self._messages.popleft()
            self._sent.set()
            self._sent = trio.Event()

    async def _beat(self, interval: float) -> None:
        """It is this task's turn only while the event loop turns, so one that hangs gives no sign of life."""
        while True:
            if self._main:
                self._say("WATCHDOG=1")
            await trio.sleep(interval)

    def _say(self, *words: str) -> None:
        if self._address:
            self._messages.append("\n".join(words))
            self._arrived.set()

    async def all_said(self) -> None:
        """Return when nothing is left to send, or nobody has taken it for some seconds."""
        with trio.move_on_after(PATIENCE):
            while self._messages:
                await self._sent.wait()

    def ready(self, status: str = "serving") -> None:
        """At the start, and after a reload, successful or not."""
        self._main = True
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """:meth:`ready` follows."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self, connections: int) -> None:
        """``connections`` may still finish."""
        self._say("STOPPING=1", f"STATUS=stopping; {connections} connections were open")

    def succeeded_by(self, pid: int) -> None:
        """Another process is the service from now on; nothing that this one says would count."""
        self._say(f"MAINPID={pid}")
        self._main = False


def _watchdog_interval() -> float | None:
    """Seconds between signs of life: half of what sd_watchdog_enabled(3) allows. None if nobody wants them."""
    pid = os.environ.pop("WATCHDOG_PID", "")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 2e6
