"""The supervisor's handle of a worker: a process and a channel to it."""

from __future__ import annotations

import itertools
import socket
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

import trio

from lb.net.channel import Channel, ChannelFullError
from lb.workers.fork_server import ForkedProcess, ForkServer
from lb.workers.messages import Done

__all__ = ["WorkerProcess"]

WORKER_KILL_TIMEOUT = 2.0
"""Seconds between the end of the channel and SIGKILL."""


class Reply:
    """The reply to an order: an error, or success."""

    def __init__(self) -> None:
        self._error = ""
        self._here = trio.Event()
        self.content: object = None
        """The result of a query; None if there is none."""

    def come(self, error: str, content: object = None) -> None:
        self._error = error
        self.content = content
        self._here.set()

    async def wait(self) -> str:
        """Return why the order failed; empty on success. The end of the process completes all replies."""
        await self._here.wait()
        return self._error


class WorkerProcess:
    """A worker. Messages are sent while :meth:`run` runs."""

    def __init__(self, index: int, process: ForkedProcess, channel: Channel) -> None:
        self.index = index
        self.served = False
        """Whether it has applied a configuration."""
        self.ended = ""
        """Why it ended; empty while it runs."""
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._why_killed = ""
        self._answers: defaultdict[type[object], deque[Reply]] = defaultdict(deque)
        """Outstanding replies by type of order. Replies of one type arrive in order."""

    @classmethod
    async def start(cls, index: int, forks: ForkServer) -> WorkerProcess:
        """Start the process. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await forks.fork(index, theirs.fileno())
            except BaseException:
                ours.close()
                raise
        return cls(index, process, Channel(ours))

    @property
    def ended_well(self) -> bool:
        return self.ended in ("exit code 0", "ended")  # the status is unknown if the fork server was gone

    async def run(self, received: Callable[[object], None]) -> None:
        """Receive messages until the process has ended. If cancelled, kill it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._channel.run)
                while (message := await self._channel.receive()) is not None:
                    if isinstance(message[0], Done):
                        self._answers[message[0].to].popleft().come(message[0].error, message[0].answer)
                    else:
                        received(message[0])
                nursery.cancel_scope.cancel()
            with trio.move_on_after(WORKER_KILL_TIMEOUT):
                await self._process.exited()
        finally:
            self._process.kill()
            with trio.CancelScope(shield=True):
                await self._process.exited()
            self._process.close()
            self._channel.close()
            self.ended = self._why_killed or self._process.ended_text
            for answer in itertools.chain.from_iterable(self._answers.values()):
                answer.come(self.ended)

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Send a message from :func:`lb.net.channel.encode`."""
        try:
            self._channel.send(message, fds)
        except ChannelFullError:
            self.kill("did not read its messages")

    def order(self, kind: type[object], message: bytes, fds: Sequence[int] = ()) -> Reply:
        """Send a message of a type that has a reply."""
        answer = Reply()
        if self.ended:
            answer.come(self.ended)
        else:
            self._answers[kind].append(answer)
            self.send(message, fds)
        return answer

    def kill(self, why: str) -> None:
        """Send SIGKILL. ``why`` is reported as the reason."""
        if not self.ended:
            self._why_killed = why
            self._process.kill()
