"""The acceptor of the fast splicer."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

import trio

from lb.net.errors import EXHAUSTED
from lb.relay.epoll_loop import EpollLoop
from lb.relay.splicer import ACCEPT_GO_ON, ACCEPTS, MOST_WAITING

__all__ = ["EpollAcceptor"]

ACCEPT_EDGES = select.EPOLLIN | select.EPOLLET | select.EPOLLEXCLUSIVE
"""EPOLLEXCLUSIVE: of several processes that listen on one socket, the kernel wakes one per client, not all."""


class EpollAcceptor:
    """Accepts the clients of one listening socket."""

    __slots__ = (
        "_accepted",
        "_detached",
        "_exhausted",
        "_family",
        "_listening",
        "_loop",
        "_may_accept",
        "_resuming",
        "_watching",
    )

    def __init__(
        self,
        loop: EpollLoop,
        listening: socket.socket,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._listening = listening
        self._family = listening.family
        self._may_accept = may_accept
        self._accepted = accepted
        self._exhausted = exhausted
        self._resuming = False
        self._detached = False
        self._watching = False

    def watch(self) -> None:
        """Watch the listening socket. Clients already in the backlog count as an edge."""
        self._watching = True
        self._loop.watch(self._listening.fileno(), self, ACCEPT_EDGES)

    def edge(self, mask: int) -> None:  # noqa: ARG002 - accept reports what happened
        self.resume()

    def _accept_batch(self) -> bool:
        """Accept up to ACCEPTS clients. Return False if no further client may be accepted now."""
        for _ in range(ACCEPTS):
            if not self._may_accept():
                return False
            try:
                fd, address = self._listening._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - socket.accept() calls it too
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in ACCEPT_GO_ON:
                    continue
                if error.errno not in EXHAUSTED:
                    raise
                self._exhausted(error)
                self._loop.pause(self)
                return False
            client = socket.SocketType(self._family, socket.SOCK_STREAM, 0, fd)
            client.setblocking(False)
            self._accepted(client, address)
        return True

    def resume(self) -> None:
        if not (self._watching or self._detached):
            self.watch()
        if not self._resuming:
            self._resuming = True
            self._loop.later(self)

    def again(self) -> None:
        self._resuming = False
        if not self._detached and self._accept_batch():
            self.resume()

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the loop
        self._loop.pause(self)

    def stand_aside(self) -> None:
        if self._watching:
            self._watching = False
            self._loop.unwatch(self._listening.fileno())

    def detach(self) -> None:
        self.stand_aside()
        self._detached = True

    async def finish(self) -> None:
        try:
            for _ in range(MOST_WAITING // ACCEPTS):
                if not self._accept_batch():
                    break
                await trio.lowlevel.checkpoint()
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not keep the listener open
            self._loop.fault("splicer", exception)
        self.detach()  # epoll does not report the close, because other processes may hold the socket
