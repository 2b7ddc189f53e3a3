"""One worker, as the supervisor sees it: a child process at the other end of a channel."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

import trio

from lb.workers.channel import Channel, ChannelFullError
from lb.workers.messages import SIGNALS, Done

__all__ = ["WorkerProcess"]

LAST_CHANCE = 2.0
"""Seconds between the end of the channel and SIGKILL."""


class Answer:
    """To an order: what went wrong, if anything."""

    def __init__(self) -> None:
        self._error = ""
        self._here = trio.Event()
        self.content: object = None
        """Of the answer to a question; None if there is none."""

    def come(self, error: str, content: object = None) -> None:
        self._error = error
        self.content = content
        self._here.set()

    async def wait(self) -> str:
        """Why the order was not obeyed; empty if it was. The end of the process answers everything."""
        await self._here.wait()
        return self._error


class WorkerProcess:
    """A worker. :meth:`run` must be running for anything to be sent."""

    def __init__(self, index: int) -> None:
        """Start the process. Raises OSError."""
        self.index = index
        self.served = False
        """It has taken a configuration."""
        self.ended = ""
        """Why it has; empty while it runs."""
        self._why_killed = ""
        self._answers: defaultdict[type[object], deque[Answer]] = defaultdict(deque)
        """Those still to come, by the kind of order; of one kind they come in order."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = _start(index, theirs.fileno())
        self._channel = Channel(ours)
        self.pid = self._process.pid

    @property
    def ended_well(self) -> bool:
        return self.ended == "exit code 0"

    async def run(self, received: Callable[[object], None]) -> None:
        """Hand over its messages until the process has ended; if cancelled, end it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._channel.run)
                while (message := await self._channel.receive()) is not None:
                    if isinstance(message[0], Done):
                        self._answers[message[0].to].popleft().come(message[0].error, message[0].answer)
                    else:
                        received(message[0])
                nursery.cancel_scope.cancel()
            with trio.move_on_after(LAST_CHANCE):
                await self._exited()
        finally:
            self._process.kill()  # does nothing to a process that has ended
            code = self._process.wait()
            self._channel.close()
            plain = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self.ended = self._why_killed or plain
            for answer in itertools.chain.from_iterable(self._answers.values()):
                answer.come(self.ended)

    async def _exited(self) -> None:
        pidfd = os.pidfd_open(self.pid)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send what :func:`lb.workers.channel.encode` gave."""
        try:
            self._channel.send(message, fds)
        except ChannelFullError:
            self.kill("did not read its messages")

    def order(self, kind: type[object], message: bytes, fds: Sequence[int] = ()) -> Answer:
        """Send a message of a kind that has an answer."""
        answer = Answer()
        if self.ended:
            answer.come(self.ended)
        else:
            self._answers[kind].append(answer)
            self.send(message, fds)
        return answer

    def kill(self, why: str) -> None:
        """SIGKILL, for a reason that is to be told."""
        if not self.ended:
            self._why_killed = why
            self._process.kill()


def _start(index: int, channel: int) -> subprocess.Popen[bytes]:
    """With our own search path, so that it finds the plug-ins that we found, and nothing else."""
    command = [sys.executable, "-P", "-m", "lb.workers.worker", str(index), str(channel)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[channel])  # noqa: S603 - ourselves
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
