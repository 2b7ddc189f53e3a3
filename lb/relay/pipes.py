"""Pipes for ``splice``: kernel buffers between two sockets. Pooled, because a new one costs three system calls."""

from __future__ import annotations

import fcntl
import os

from lb.net.descriptors import Descriptors
from lb.net.errors import EXHAUSTED

__all__ = ["Pipe", "PipePool"]

PIPE_SIZE = 1 << 20
"""Bytes requested per pipe: the limit of an unprivileged process, pipe(7). Larger pipes need fewer splices."""
MAX_IDLE_PIPES = 32
"""Maximum idle pipes kept for later bulk transfers. A guess."""


class Pipe:
    """The two ends of a pipe. ``read`` and ``write`` are file descriptors."""

    __slots__ = ("read", "size", "write")

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.size = fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:  # no memory, or the user's quota of pipe pages is used up, pipe(7): keep the default size
            self.size = fcntl.fcntl(self.write, fcntl.F_GETPIPE_SZ)

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


class PipePool:
    """A pool of pipes, within the process's descriptor budget."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._idle: list[Pipe] = []
        self.lent = 0

    def get(self) -> Pipe | None:
        """Return an empty pipe, or None if no descriptors are left."""
        if self._idle:
            pipe = self._idle.pop()
        else:
            if self._descriptors.used + 2 > self._descriptors.limit:
                return None
            try:
                pipe = Pipe()
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                return None  # a limit of the system: bulk transfers continue without pipes
            self._descriptors.take(2)
        self.lent += 1
        return pipe

    def put(self, pipe: Pipe, *, empty: bool) -> None:
        """Return a pipe to the pool. A pipe that still holds bytes is closed, so no other transfer can read them."""
        self.lent -= 1
        if empty and len(self._idle) < MAX_IDLE_PIPES:
            self._idle.append(pipe)
        else:
            pipe.close()
            self._descriptors.give(2)
