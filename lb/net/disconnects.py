"""Detection of clients that disconnect while they wait for a server. Nothing reads from their sockets at that time."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from typing import Literal, Protocol

import trio

__all__ = ["Disconnects", "Waiting", "Watch"]


class Waiting(Protocol):
    """A connection whose client waits."""

    def client_left(self, reason: Literal["eof", "reset"]) -> None:
        """The client has disconnected. Its socket is no longer watched."""


class Watch(Protocol):
    """The interface of :class:`Disconnects`."""

    async def run(self) -> None: ...

    def watch(self, sock: socket.SocketType, waiting: Waiting) -> None: ...

    def forget(self, sock: socket.SocketType) -> None: ...


class Disconnects:
    """Watches waiting clients with an epoll of its own. ``fault`` reports bugs.

    A client has left if its connection is reset, or if it ends without having sent a byte. A client that sent data and
    then ended may have half-closed and still expect its response, so only a reset counts for it.
    Systems without epoll detect a disconnect only when the client's turn comes.
    """

    def __init__(self, fault: Callable[[str, Exception], None]) -> None:
        self._fault = fault
        self._epoll = select.epoll() if sys.platform == "linux" else None
        self._waiting: dict[int, tuple[socket.SocketType, Waiting]] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        if self._epoll is None:
            return
        with self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll)
                for fd, mask in self._epoll.poll(0, 1):  # one at a time: a callback may forget the next
                    self._check_client(fd, mask)

    def watch(self, sock: socket.SocketType, waiting: Waiting) -> None:
        """Watch a client's socket until :meth:`forget`."""
        if self._epoll is not None:
            self._waiting[sock.fileno()] = (sock, waiting)
            self._epoll.register(sock.fileno(), select.EPOLLRDHUP)

    def forget(self, sock: socket.SocketType) -> None:
        """Stop watching a socket. Call it before the socket is closed or relayed. Does nothing if it is not watched."""
        if self._epoll is not None and self._waiting.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def _check_client(self, fd: int, mask: int) -> None:
        sock, waiting = self._waiting[fd]
        reason = _leave_reason(sock, mask)
        if reason is None:
            assert self._epoll is not None  # noqa: S101 - it reported this edge
            self._epoll.modify(fd, 0)  # EPOLLHUP and EPOLLERR are still reported, epoll_ctl(2)
            return
        self.forget(sock)
        try:
            waiting.client_left(reason)
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
            self._fault("departure", exception)


def _leave_reason(sock: socket.SocketType, mask: int) -> Literal["eof", "reset"] | None:
    """Return the reason if the client has left; None if it may only have half-closed."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return "reset"
    if mask & select.EPOLLHUP or not sock.recv(1, socket.MSG_PEEK):
        return "eof"  # EPOLLHUP: a unix client closed, whatever it sent before
    return None
