"""A channel between two processes of the balancer: pickled messages, with optional descriptors, over a unix socket.

Sending never waits: messages are queued, up to a limit, and a task sends them.
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

from lb.net.threads import Threads

__all__ = ["Channel", "ChannelFullError", "encode"]

HEADER = struct.Struct("=QI")
"""Header of a message: length in bytes, number of descriptors."""
MOST_FDS = 250
"""Maximum descriptors per system call; SCM_MAX_FD is 253 (unix(7))."""
CHUNK = 1 << 16
LARGE = 1 << 16
"""Messages above this many bytes are unpickled in a thread, to keep the event loop free. A guess: 1 ms."""
MOST_QUEUED = 1 << 28
"""Maximum queued bytes. A guess: far more than the largest configuration."""


class ChannelFullError(Exception):
    """The queue is full: the peer has not read for long."""


def encode(message: object) -> bytes:
    """Encode a message, once for all receivers."""
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


class Channel:
    """One end of a channel. Messages are sent while :meth:`run` runs."""

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
        self._thread = Threads(1)

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        """Queue a message from :func:`encode`. The descriptors are duplicated. Raises ChannelFullError.

        Does nothing once the peer is gone: :meth:`receive` reports that.
        """
        if self._gone:
            return
        if self._queued > MOST_QUEUED:
            raise ChannelFullError
        self._queue.append((HEADER.pack(len(message), len(fds)) + message, [os.dup(fd) for fd in fds]))
        self._queued += len(message)
        self._arrived.set()

    async def all_sent(self) -> None:
        """Wait until the peer's socket has all messages, or the peer is gone."""
        while self._queued:
            await self._sent.wait()

    async def run(self) -> None:
        """Send queued messages until the peer is gone; then discard the rest."""
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
        for first in range(0, len(fds), MOST_FDS):  # each batch needs a data byte of its own
            part = array.array("i", fds[first : first + MOST_FDS])
            sent = await self._sock.sendmsg([data[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, part)])
            data = data[sent:]
        while data:
            data = data[await self._sock.send(data) :]

    async def receive(self) -> tuple[object, list[int]] | None:
        """Return the next message and its descriptors; None once the peer is gone."""
        header = await self._take(HEADER.size)
        if header is None:
            return None
        length, count = HEADER.unpack(header)
        body = await self._take(length)
        if body is None:
            return None
        fds, self._fds = self._fds[:count], self._fds[count:]
        message = await self._thread.run(pickle.loads, body) if length > LARGE else pickle.loads(body)  # noqa: S301 - our own process
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
