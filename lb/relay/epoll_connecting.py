"""A connect in progress on the fast splicer."""

from __future__ import annotations

import errno
import os
import select
import socket

from lb.net.tcp import is_self_connected
from lb.relay.epoll_loop import EpollLoop
from lb.relay.splicer import ConnectingOwner

__all__ = ["EpollConnecting"]


class EpollConnecting:
    """A connect in progress. The first edge carries the result. Implements :class:`lb.relay.splicer.Connecting`."""

    __slots__ = ("_loop", "_owner", "_sock", "_target", "ready")

    def __init__(self, loop: EpollLoop, sock: socket.SocketType, target: object, owner: ConnectingOwner) -> None:
        self._loop = loop
        self._sock = sock
        self._target = target
        self._owner = owner
        self.ready = 0
        """Epoll mask of the connect edge. It may report that the server has already sent data; no later edge does."""

    def edge(self, mask: int) -> None:
        failing = mask & (select.EPOLLERR | select.EPOLLHUP)
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if failing else 0
        if error:
            self._fail(error)
        elif mask & select.EPOLLOUT:  # EPOLLHUP without an error: a unix server that sent data and closed
            if is_self_connected(self._sock, self._target):
                self._fail(errno.ECONNREFUSED)
            else:
                self.ready = mask
                self._owner.connected(self._sock)

    def _fail(self, error: int) -> None:
        self._loop.close(self._sock)
        self._owner.connect_failed(OSError(error, os.strerror(error)))

    def again(self) -> None: ...

    def failed(self, exception: Exception) -> None:
        self._loop.close(self._sock)
        self._owner.connect_failed(OSError(errno.EIO, f"fault: {exception}"))

    def cancel(self) -> None:
        self._loop.close(self._sock)
