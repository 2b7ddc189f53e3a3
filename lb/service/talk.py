"""The channel between a process and the one that takes its place: JSON objects, one a line, over a unix socket."""

from __future__ import annotations

import json
import socket
from typing import Any

import trio

__all__ = ["Talk", "say_now"]


class Talk:
    """One end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._read = b""

    async def say(self, **message: object) -> None:
        """Does nothing once the other side is gone: :meth:`hear` tells."""
        try:
            await self._stream.send_all(_line(message))
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    async def hear(self) -> dict[str, Any] | None:
        """The next message; None once the other side is gone."""
        while b"\n" not in self._read:
            try:
                chunk = await self._stream.receive_some()
            except trio.BrokenResourceError:
                chunk = b""
            if not chunk:
                return None
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    async def close(self) -> None:
        await self._stream.aclose()


def say_now(sock: socket.socket, **message: object) -> None:
    """Say it without trio, at the end of a process. Raises OSError if the other side is gone."""
    sock.setblocking(True)
    sock.sendall(_line(message))


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"
