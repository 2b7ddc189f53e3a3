"""The successor of an upgrade, as seen from the old process. The counterpart is :mod:`lb.service.predecessor`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import trio

from lb.control.inherited import RuntimeState
from lb.model.binds import Place
from lb.net.activation import GivenSockets
from lb.net.capabilities import net_admin_for_children
from lb.net.privileged_files import channel
from lb.net.processes import exit_text, wait_for_exit
from lb.net.sockets import Opened
from lb.service.handover import HandoverDocument, place_from_json
from lb.service.predecessor import HANDOVER
from lb.service.talk import Talk

__all__ = ["Successor", "SuccessorError"]

SUCCESSOR_KILL_TIMEOUT = 2.0
"""Seconds between the end of the channel and SIGKILL."""


class SuccessorError(Exception):
    """The successor cannot take over. The message is one line."""


class Successor:
    """The successor: a process started with the same command, so that it runs the version installed now."""

    def __init__(self, sockets: Opened, given: GivenSockets, secret: bytes) -> None:
        """Start the process. It inherits these sockets, those of the service manager and the secret. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            document = HandoverDocument(
                theirs.fileno(),
                {place: [sock.fileno() for sock in each] for place, each in sockets.items()},
                {each.sock.fileno(): each.name for each in given.all},
                opener.fileno() if (opener := channel()) is not None else None,
                secret,
            )
            try:
                self._process = _start(document)
            except OSError:
                ours.close()
                raise
        self._talk = Talk(ours)
        self.pid = self._process.pid

    async def ready(self, runtime_state: Callable[[], RuntimeState]) -> list[Place]:
        """Reply to requests until it serves. Returns the places it has taken over. Raises SuccessorError."""
        while (message := await self._talk.receive()) is not None:
            if "ready" in message:
                return [place_from_json(place) for place in message["ready"]]
            if "failed" in message:
                raise SuccessorError(message["failed"])
            if message.get("want") == "health":
                await self._talk.send(**runtime_state().as_json())
        raise SuccessorError(await self._ending())

    async def _ending(self) -> str:
        """Return how it ended without a report."""
        with trio.move_on_after(SUCCESSOR_KILL_TIMEOUT):
            await self._exited()
        code = self._process.poll()
        if code is None:
            return "it closed the channel without a report and keeps running"
        return exit_text(code)

    async def _exited(self) -> None:
        if self._process.poll() is not None:
            return
        await wait_for_exit(self.pid)

    async def left(self, announced: Mapping[str, object]) -> None:
        """Report that this process no longer accepts clients, and hand over what it announces."""
        await self._talk.send(left=True, announced=announced)

    def pass_on(self, number: signal.Signals) -> None:
        """Forward a signal to the process that serves."""
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Send SIGKILL. Its workers exit by themselves."""
        self._process.kill()
        await self._exited()
        self._process.poll()
        await self._talk.close()


def _start(document: HandoverDocument) -> subprocess.Popen[bytes]:
    """Start the same command in the same directory. Omits environment variables for one process only."""
    command = [sys.executable, *sys.orig_argv[1:]]
    text = os.memfd_create("lb-upgrade", 0)
    try:
        os.write(text, document.as_json())
        inherited: Sequence[int] = [text, document.channel, *document.given]
        inherited = [
            *inherited,
            *([] if document.opener is None else [document.opener]),
            *(fd for fds in document.sockets.values() for fd in fds),
        ]
        environment = {key: value for key, value in os.environ.items() if key != "WATCHDOG_PID"}
        environment[HANDOVER] = str(text)
        with net_admin_for_children():
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=inherited)  # noqa: S603 - our own command
    finally:
        os.close(text)
