"""A connect under way on the fast splicer."""

from __future__ import annotations

import errno
import os
import select
import socket
from typing import TYPE_CHECKING

from lb.splicing.self_connect import is_self_connected
from lb.splicing.splicer import ConnectingOwner

if TYPE_CHECKING:
    from lb.splicing.epoll_splicer import EpollSplicer

__all__ = ["EpollConnecting"]


class EpollConnecting:
    """A connect under way: the first edge tells how it went."""

    __slots__ = ("_owner", "_sock", "_splicer", "_target", "seen")

    def __init__(self, splicer: EpollSplicer, sock: socket.SocketType, target: object, owner: ConnectingOwner) -> None:
        self._splicer = splicer
        self._sock = sock
        self._target = target
        self._owner = owner
        self.seen = 0
        """What the edge said beyond "connected", say that the server has spoken already: it will not say so again."""

    def edge(self, mask: int) -> None:
        failing = mask & (select.EPOLLERR | select.EPOLLHUP)
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if failing else 0
        if error:
            self._fail(error)
        elif mask & select.EPOLLOUT:  # a unix server that has spoken and gone hangs up without an error
            if is_self_connected(self._sock, self._target):
                self._fail(errno.ECONNREFUSED)
            else:
                self.seen = mask
                self._owner.connected(self._sock)

    def _fail(self, error: int) -> None:
        self._splicer.close(self._sock)
        self._owner.connect_failed(OSError(error, os.strerror(error)))

    def again(self) -> None: ...

    def failed(self, exception: Exception) -> None:
        self._splicer.close(self._sock)
        self._owner.connect_failed(OSError(errno.EIO, f"fault: {exception}"))

    def cancel(self) -> None:
        self._splicer.close(self._sock)
