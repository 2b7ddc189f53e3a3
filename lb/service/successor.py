"""The process that is to take this one's place, as this one sees it. The other side: :mod:`lb.service.predecessor`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import trio

from lb.binds import Place
from lb.carrier import Opened
from lb.service.given_sockets import GivenSockets
from lb.service.handover import Document, Knowledge, place_from_json
from lb.service.predecessor import HANDOVER
from lb.service.talk import Talk

__all__ = ["Successor", "SuccessorError"]

LAST_CHANCE = 2.0
"""Seconds between the end of the channel and SIGKILL."""


class SuccessorError(Exception):
    """It cannot take over; the text says why, in one line."""


class Successor:
    """A process started as this one was, so that it runs what is installed now."""

    def __init__(self, sockets: Opened, given: GivenSockets) -> None:
        """Start it, with these sockets and those of the service manager. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            document = Document(
                theirs.fileno(),
                {place: [sock.fileno() for sock in each] for place, each in sockets.items()},
                {each.sock.fileno(): each.name for each in given.all},
            )
            try:
                self._process = _start(document)
            except OSError:
                ours.close()
                raise
        self._talk = Talk(ours)
        self.pid = self._process.pid

    async def ready(self, knowledge: Callable[[], Knowledge]) -> list[Place]:
        """Answer its questions until it serves; returns whose sockets it has taken. Raises SuccessorError."""
        while (message := await self._talk.hear()) is not None:
            if "ready" in message:
                return [place_from_json(place) for place in message["ready"]]
            if "failed" in message:
                raise SuccessorError(message["failed"])
            if message.get("want") == "health":
                await self._talk.say(**knowledge().as_json())
        raise SuccessorError(await self._ending())

    async def _ending(self) -> str:
        """Of one that said nothing."""
        with trio.move_on_after(LAST_CHANCE):
            await self._exited()
        code = self._process.poll()
        if code is None:
            return "it said nothing and went on"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def _exited(self) -> None:
        if self._process.poll() is not None:
            return
        pidfd = os.pidfd_open(self.pid)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)

    async def left(self) -> None:
        """Tell it that this process accepts nobody any more. From here on it is on its own."""
        await self._talk.say(left=True)

    def pass_on(self, number: signal.Signals) -> None:
        """Send it a signal that was meant for the one who serves."""
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL. Workers of its own end by themselves."""
        self._process.kill()
        await self._exited()
        self._process.poll()
        await self._talk.close()


def _start(document: Document) -> subprocess.Popen[bytes]:
    """The same command in the same place; of the environment without what is meant for one process only."""
    command = [sys.executable, *sys.orig_argv[1:]]
    text = os.memfd_create("lb-upgrade", 0)
    try:
        os.write(text, document.as_json())
        inherited: Sequence[int] = [text, document.channel, *document.given]
        inherited = [*inherited, *(fd for fds in document.sockets.values() for fd in fds)]
        environment = {key: value for key, value in os.environ.items() if key != "WATCHDOG_PID"}
        environment[HANDOVER] = str(text)
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=inherited)  # noqa: S603 - ourselves
    finally:
        os.close(text)
