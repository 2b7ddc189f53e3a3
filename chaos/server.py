"""A server that fails on command: ``python -m chaos.server PORT``. Commands come on stdin, reports go to stdout.

It speaks the protocol of :mod:`chaos.talk`, and HTTP. Commands, each answered by ``ok``: ``refuse`` (stop listening),
``listen``, and the modes ``normal``, ``slow``, ``half`` (half a reply, then a reset), ``reset`` (instead of a reply)
and ``busy`` (503 to requests). Reports: ``cut NUMBER`` for a session that it cut, ``busy NUMBER`` for a request
answered by 503, ``short NUMBER`` for a session whose client seems to have ended early, ``wrong NUMBER TEXT`` for wrong
bytes.
"""

from __future__ import annotations

import contextlib
import socket
import sys

import trio
import trio.lowlevel

from chaos.http_service import HttpService
from chaos.http_talk import HTTP_VERSION
from chaos.talk import PING, PONG, Checked, Talk

PIECES = 10
"""Pieces of a slow reply."""
PAUSE = 0.03
"""Seconds between the pieces."""
BACKLOG = 1000
LONGEST_HEADER = 100


class CutError(Exception):
    """Ends a session with a reset."""


class Server:
    """The server, with its current mode."""

    def __init__(self, port: int) -> None:
        self.mode = "normal"
        self._port = port
        self._listening = trio.CancelScope()
        self._closed = trio.Event()
        """Set when the listening socket is closed."""
        self._connections: trio.Nursery

    async def run(self) -> None:
        """Serve until killed, or until stdin closes."""
        async with trio.open_nursery() as self._connections:
            await self._listen()
            report("ok")
            rest = b""
            commands = trio.lowlevel.FdStream(0)
            async for chunk in commands:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    await self._execute(line.decode())
            self._connections.cancel_scope.cancel()

    async def _execute(self, command: str) -> None:
        if command == "refuse":
            self._listening.cancel()
            await self._closed.wait()  # connections that it had not accepted are reset by then, none later
        elif command == "listen":
            await self._listen()
        else:
            self.mode = command
        report("ok")

    async def _listen(self) -> None:
        listening = trio.socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await listening.bind(("127.0.0.1", self._port))
        listening.listen(BACKLOG)
        self._listening, self._closed = trio.CancelScope(), trio.Event()
        self._connections.start_soon(self._accept, trio.SocketListener(listening), self._listening, self._closed)

    async def _accept(self, listener: trio.SocketListener, scope: trio.CancelScope, closed: trio.Event) -> None:
        with scope:
            await trio.serve_listeners(self._connection, [listener], handler_nursery=self._connections)
        closed.set()

    async def _connection(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                with contextlib.suppress(trio.BrokenResourceError):  # the client records it in the ledger
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
            if self.mode == "reset":
                raise CutError
            await stream.send_all(PONG)
        elif line.endswith(HTTP_VERSION + b"\r"):
            await HttpService(stream, lambda: self.mode, report, send_slowly, CutError).serve(start)
        else:
            await self._talk(stream, Talk.of(line), rest)

    async def _talk(self, stream: trio.SocketStream, talk: Talk, chunk: bytes) -> None:
        checked, reply = Checked(talk.upload), talk.download
        for number in range(talk.rounds):
            while True:
                if wrong := checked.take(chunk):
                    report(f"wrong {talk.number} {wrong}")
                    raise CutError
                if checked.count >= (number + 1) * talk.up:
                    break
                chunk = await stream.receive_some()
                if not chunk:
                    report(f"short {talk.number}")
                    return
            chunk = b""
            await self._reply(stream, talk, reply[number * talk.down : (number + 1) * talk.down])
        async for more in stream:
            report(f"wrong {talk.number} {checked.take(more)}")

    async def _reply(self, stream: trio.SocketStream, talk: Talk, reply: bytes) -> None:
        if self.mode in ("half", "reset"):
            report(f"cut {talk.number}")
            if self.mode == "half":
                await stream.send_all(reply[: len(reply) // 2])
            raise CutError
        if self.mode == "slow":
            await send_slowly(stream, reply)
        else:
            await stream.send_all(reply)


async def send_slowly(stream: trio.SocketStream, reply: bytes) -> None:
    """Send in pieces, with pauses."""
    size = len(reply) // PIECES + 1
    for start in range(0, len(reply), size):
        await stream.send_all(reply[start : start + size])
        await trio.sleep(PAUSE)


def report(line: str) -> None:
    """Write a line to stdout."""
    print(line, flush=True)


if __name__ == "__main__":
    trio.run(Server(int(sys.argv[1])).run)
