"""A server that fails to order: ``python -m chaos.server PORT``. Orders come by stdin, reports go to stdout.

Orders, each answered by ``ok``: ``refuse`` (stop listening), ``listen``, and the moods ``normal``, ``slow``, ``half``
(half an answer, then a reset) and ``reset`` (instead of an answer). Reports: ``cut NUMBER`` for a session that it cut
itself, ``short NUMBER`` for one whose client seems to have ended early, ``wrong NUMBER TEXT`` for wrong bytes.
"""

from __future__ import annotations

import contextlib
import socket
import sys

import trio
import trio.lowlevel

from chaos.talk import PING, PONG, Checked, Talk

PIECES = 10
"""Of a slow answer."""
PAUSE = 0.03
"""Seconds between them."""
BACKLOG = 1000
LONGEST_HEADER = 100


class CutError(Exception):
    """This session is to end with a reset."""


class Server:
    """What it does next."""

    def __init__(self, port: int) -> None:
        self.mood = "normal"
        self._port = port
        self._listening = trio.CancelScope()
        self._connections: trio.Nursery

    async def run(self) -> None:
        """Serve until killed, or until whoever gives the orders is gone."""
        async with trio.open_nursery() as self._connections:
            await self._listen()
            say("ok")
            rest = b""
            orders = trio.lowlevel.FdStream(0)
            async for chunk in orders:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    await self._obey(line.decode())
            self._connections.cancel_scope.cancel()

    async def _obey(self, order: str) -> None:
        if order == "refuse":
            self._listening.cancel()
        elif order == "listen":
            await self._listen()
        else:
            self.mood = order
        await trio.lowlevel.checkpoint()  # who was cancelled is gone after this
        say("ok")

    async def _listen(self) -> None:
        listening = trio.socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await listening.bind(("127.0.0.1", self._port))
        listening.listen(BACKLOG)
        self._listening = trio.CancelScope()
        self._connections.start_soon(self._accept, trio.SocketListener(listening), self._listening)

    async def _accept(self, listener: trio.SocketListener, scope: trio.CancelScope) -> None:
        with scope:
            await trio.serve_listeners(self._connection, [listener], handler_nursery=self._connections)

    async def _connection(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                with contextlib.suppress(trio.BrokenResourceError):  # the client's business, and its ledger's
                    await self._greet(stream)
            except CutError:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def _greet(self, stream: trio.SocketStream) -> None:
        start = b""
        while b"\n" not in start:
            chunk = await stream.receive_some()
            start += chunk
            if not chunk or len(start) > LONGEST_HEADER + len(chunk):
                return
        line, _, rest = start.partition(b"\n")
        if line == PING:
            if self.mood == "reset":
                raise CutError
            await stream.send_all(PONG)
        else:
            await self._talk(stream, Talk.of(line), rest)

    async def _talk(self, stream: trio.SocketStream, talk: Talk, chunk: bytes) -> None:
        heard, answer = Checked(talk.upload), talk.download
        for number in range(talk.rounds):
            while True:
                if wrong := heard.take(chunk):
                    say(f"wrong {talk.number} {wrong}")
                    raise CutError
                if heard.count >= (number + 1) * talk.up:
                    break
                chunk = await stream.receive_some()
                if not chunk:
                    say(f"short {talk.number}")
                    return
            chunk = b""
            await self._answer(stream, talk, answer[number * talk.down : (number + 1) * talk.down])
        async for more in stream:
            say(f"wrong {talk.number} {heard.take(more)}")

    async def _answer(self, stream: trio.SocketStream, talk: Talk, answer: bytes) -> None:
        if self.mood in ("half", "reset"):
            say(f"cut {talk.number}")
            if self.mood == "half":
                await stream.send_all(answer[: len(answer) // 2])
            raise CutError
        if self.mood == "slow":
            size = len(answer) // PIECES + 1
            for start in range(0, len(answer), size):
                await stream.send_all(answer[start : start + size])
                await trio.sleep(PAUSE)
        else:
            await stream.send_all(answer)


def say(line: str) -> None:
    """A line to whoever gives the orders."""
    print(line, flush=True)


if __name__ == "__main__":
    trio.run(Server(int(sys.argv[1])).run)
