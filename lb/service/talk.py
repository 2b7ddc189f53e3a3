"""The channel between predecessor and successor: JSON objects, one per line, over a unix socket."""

from __future__ import annotations

import json
import socket
from typing import Any

import trio

__all__ = ["Talk", "send_now"]


class Talk:
    """One end of the channel."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._read = b""

    async def send(self, **message: object) -> None:
        """Send a message. Does nothing once the peer is gone: :meth:`receive` reports that."""
        try:
            await self._stream.send_all(_line(message))
        except trio.BrokenResourceError:
            await trio.lowlevel.checkpoint()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message; None once the peer is gone."""
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


def send_now(sock: socket.socket, **message: object) -> None:
    """Send a message without trio, at the end of a process. Raises OSError if the peer is gone."""
    sock.setblocking(True)
    sock.sendall(_line(message))


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"
