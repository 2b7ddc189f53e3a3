"""Files that this process may not read any more since it has dropped its privileges.

:mod:`lb.service.file_opener`, a process that kept them, opens these files. A request is the path, with a socket for the
reply: the errno and, if that is 0, the open file.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

__all__ = ["ERRNO", "channel", "open_file", "use_opener"]

ERRNO = struct.Struct("=i")
OPEN_TIMEOUT = 5.0
"""Seconds to wait for a file. A guess: a network file system that does not answer must not hold a thread for ever."""

_channel: socket.socket | None = None


def use_opener(sock: socket.socket) -> None:
    """Ask the process at the other end of this socket from now on."""
    global _channel  # noqa: PLW0603 - a fact about the process
    _channel = sock


def channel() -> socket.socket | None:
    """Return the socket to the opener; None without one."""
    return _channel


def open_file(path: str | Path, flags: int) -> int:
    """Open a file, by the rights of this process, else by the opener's. Raises OSError."""
    try:
        return os.open(path, flags)
    except PermissionError:
        if _channel is None:
            raise
        return _ask(_channel, os.fspath(path))


def _ask(opener: socket.socket, path: str) -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            socket.send_fds(opener, [os.fsencode(Path(path).absolute())], [theirs.fileno()])
        ours.settimeout(OPEN_TIMEOUT)
        reply, fds, _, _ = socket.recv_fds(ours, ERRNO.size, 1)
    (number,) = ERRNO.unpack(reply) if reply else (0,)
    if number or not fds:
        raise PermissionError(number, os.strerror(number)) if number else PermissionError("the file opener is gone")
    return fds[0]
