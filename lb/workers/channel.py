"""Messages between the supervisor and a worker: pickled, over a unix socket, with descriptors if need be.

Sending never waits: what the other side does not take is queued, up to a limit, and a task sends it.
"""

from __future__ import annotations

import array
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Sequence

import trio

__all__ = ["Channel", "ChannelFullError", "encode"]

HEADER = struct.Struct("=QI")
"""Of each message: its length in bytes, and how many descriptors belong to it."""
MOST_FDS = 250
"""Descriptors in one system call; SCM_MAX_FD is 253 (unix(7))."""
CHUNK = 1 << 16
LARGE = 1 << 16
"""Bytes from which on a message is read in a thread, so that the traffic gets its turn. A guess: 1 ms."""
MOST_QUEUED = 1 << 28
"""Bytes that may wait for a reader. A guess: far more than the largest configuration."""


class ChannelFullError(Exception):
    """The other side has not read for long."""


def encode(message: object) -> bytes:
    """A message as it is sent: once for several receivers."""
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


class Channel:
    """One end. :meth:`run` must be running for anything to be sent."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._queued = 0
        self._gone = False
        self._arrived = trio.Event()
        self._sent = trio.Event()
        self._read = bytearray()
        self._fds: list[int] = []

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Queue what :func:`encode` gave. The descriptors are duplicated. Raises ChannelFullError.

        Does nothing once the other side is gone: :meth:`receive` tells.
        """
        if self._gone:
            return
        if self._queued > MOST_QUEUED:
            raise ChannelFullError
        self._queue.append((HEADER.pack(len(message), len(fds)) + message, [os.dup(fd) for fd in fds]))
        self._queued += len(message)
        self._arrived.set()

    async def all_sent(self) -> None:
        """Return when the other side's socket has everything, or the other side is gone."""
        while self._queued:
            await self._sent.wait()

    async def run(self) -> None:
        """Send what is queued, until the other side is gone; then what is left is forgotten."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived = trio.Event()
                while self._queue:
                    await self._send(*self._queue[0])
                    frame, fds = self._queue.popleft()
                    self._queued -= len(frame) - HEADER.size
                    _close(fds)
                self._sent.set()
                self._sent = trio.Event()
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            self._gone = True
            for _, fds in self._queue:
                _close(fds)
            self._queue.clear()
            self._queued = 0
            self._sent.set()

    async def _send(self, frame: bytes, fds: list[int]) -> None:
        data = memoryview(frame)
        for first in range(0, len(fds), MOST_FDS):  # each part goes with a byte of its own
            part = array.array("i", fds[first : first + MOST_FDS])
            sent = await self._sock.sendmsg([data[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, part)])
            data = data[sent:]
        while data:
            data = data[await self._sock.send(data) :]

    async def receive(self) -> tuple[object, list[int]] | None:
        """The next message, and the descriptors that came with it; None once the other side is gone."""
        header = await self._take(HEADER.size)
        if header is None:
            return None
        length, count = HEADER.unpack(header)
        body = await self._take(length)
        if body is None:
            return None
        fds, self._fds = self._fds[:count], self._fds[count:]
        message = await trio.to_thread.run_sync(pickle.loads, body) if length > LARGE else pickle.loads(body)  # noqa: S301 - our own process
        return message, fds

    async def _take(self, count: int) -> bytes | None:
        while len(self._read) < count:
            try:
                chunk, ancillary, _, _ = await self._sock.recvmsg(
                    CHUNK, socket.CMSG_SPACE(MOST_FDS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
                )
            except ConnectionResetError:
                chunk, ancillary = b"", []
            if not chunk:
                return None
            self._read += chunk
            for _, _, data in ancillary:
                self._fds += array.array("i", data)
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def close(self) -> None:
        self._sock.close()
        _close(self._fds)
        self._fds = []


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
