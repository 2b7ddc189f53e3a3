"""Pipes for ``splice``: the kernel's own buffer between two sockets. Pooled: making one costs three system calls."""

from __future__ import annotations

import fcntl
import os

from lb.errors import EXHAUSTED
from lb.splicing.descriptors import Descriptors

__all__ = ["Pipe", "PipePool"]

PIPE_SIZE = 1 << 20
"""Bytes asked for per pipe: what an unprivileged process may have, pipe(7). More per splice is fewer splices."""
KEPT = 32
"""Idle pipes kept for the next bulk transfer. A guess."""


class Pipe:
    """The two ends of a pipe; ``read`` and ``write`` are descriptors."""

    __slots__ = ("read", "size", "write")

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self.size = fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:  # no memory, or the user's quota of pipe pages is used up, pipe(7): the default size does, too
            self.size = fcntl.fcntl(self.write, fcntl.F_GETPIPE_SZ)

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


class PipePool:
    """Lends pipes to transfers, within the process's budget of descriptors."""

    def __init__(self, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._idle: list[Pipe] = []
        self.lent = 0

    def get(self) -> Pipe | None:
        """An empty pipe, or None if no descriptors are left for one."""
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
                return None  # the system's limit, not ours: bulk goes on without pipes
            self._descriptors.take(2)
        self.lent += 1
        return pipe

    def put(self, pipe: Pipe, *, empty: bool) -> None:
        """Take a pipe back. One that still holds bytes is closed: they belong to nobody else."""
        self.lent -= 1
        if empty and len(self._idle) < KEPT:
            self._idle.append(pipe)
        else:
            pipe.close()
            self._descriptors.give(2)
