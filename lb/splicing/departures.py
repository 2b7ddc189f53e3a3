"""Clients that leave while they wait for a server. Nothing is read from them yet, so nobody else would notice."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from typing import Literal, Protocol

import trio

__all__ = ["Departures", "Waiting", "Watch"]


class Waiting(Protocol):
    """Whoever waits."""

    def client_left(self, reason: Literal["eof", "reset"]) -> None:
        """There is nobody to be served any more. The client is watched no longer."""


class Watch(Protocol):
    """See :class:`Departures`."""

    async def run(self) -> None: ...

    def watch(self, sock: socket.SocketType, waiting: Waiting) -> None: ...

    def forget(self, sock: socket.SocketType) -> None: ...


class Departures:
    """Watches the clients that wait, with an epoll of its own; ``fault`` hears of bugs.

    A client has left if its connection is reset, or at its end of file if it never sent a byte. One that sent something
    may have finished early and want its answer all the same: a half-close looks no different. It is watched for a
    reset only.
    Systems without epoll find out when the client's turn comes.
    """

    def __init__(self, fault: Callable[[str, Exception], None]) -> None:
        self._fault = fault
        self._epoll = select.epoll() if sys.platform == "linux" else None
        self._waiting: dict[int, tuple[socket.SocketType, Waiting]] = {}

    async def run(self) -> None:
        """Watch for ever."""
        if self._epoll is None:
            return
        with self._epoll:
            while True:
                await trio.lowlevel.wait_readable(self._epoll)
                for fd, mask in self._epoll.poll(0, 1):  # the next might have been forgotten by then
                    self._look(fd, mask)

    def watch(self, sock: socket.SocketType, waiting: Waiting) -> None:
        """Until forgotten."""
        if self._epoll is not None:
            self._waiting[sock.fileno()] = (sock, waiting)
            self._epoll.register(sock.fileno(), select.EPOLLRDHUP)

    def forget(self, sock: socket.SocketType) -> None:
        """Before it is closed or joined; fine if it is not watched."""
        if self._epoll is not None and self._waiting.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def _look(self, fd: int, mask: int) -> None:
        sock, waiting = self._waiting[fd]
        reason = _departure(sock, mask)
        if reason is None:
            assert self._epoll is not None  # noqa: S101 - it has spoken
            self._epoll.modify(fd, 0)  # still says EPOLLHUP and EPOLLERR, epoll_ctl(2)
            return
        self.forget(sock)
        try:
            waiting.client_left(reason)
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
            self._fault("departure", exception)


def _departure(sock: socket.SocketType, mask: int) -> Literal["eof", "reset"] | None:
    """Whether a client that has finished, or more, has left."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return "reset"
    if mask & select.EPOLLHUP or not sock.recv(1, socket.MSG_PEEK):
        return "eof"  # a unix client that closes hangs up, whatever it has sent before
    return None
