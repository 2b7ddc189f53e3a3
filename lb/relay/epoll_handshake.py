"""A handshake on the fast splicer."""

from __future__ import annotations

import select
import socket

from lb.relay.epoll_loop import EpollLoop
from lb.relay.epoll_relay import READABLE, UNTIL_EAGAIN, WRITABLE
from lb.relay.splicer import Handshake

__all__ = ["EpollHandshake"]

AWAITS_WRITE = WRITABLE | UNTIL_EAGAIN


class EpollHandshake:
    """Handler of a socket during its handshake. Implements :class:`lb.relay.splicer.RunningHandshake`.

    ``ready`` is the epoll mask of earlier edges.
    """

    __slots__ = ("_handshake", "_loop", "_mask", "_over", "_queued", "_sock")

    def __init__(self, loop: EpollLoop, sock: socket.SocketType, handshake: Handshake, ready: int) -> None:
        self._loop = loop
        self._sock = sock
        self._handshake = handshake
        self._mask = ready
        self._over = False
        self._queued = False

    @property
    def ready(self) -> int:
        """Epoll mask of what the relay gets no further edge for: unread bytes and the end of file."""
        return self._mask | select.EPOLLIN if self._handshake.unread else self._mask

    def edge(self, mask: int) -> None:
        self._mask |= mask
        if self._over or self._queued or not mask & (AWAITS_WRITE if self._handshake.writing else READABLE):
            return
        self.begin()

    def begin(self) -> None:
        """Proceed later, after the handshakes before. A connected socket gets no further edge."""
        self._queued = True
        self._loop.queue_step(self, costly=self._handshake.costly)

    def wake(self) -> None:
        if not (self._over or self._queued):
            self.begin()

    def again(self) -> None:
        self._queued = False
        if not self._over:
            self._proceed()

    def _proceed(self) -> None:
        handshake = self._handshake
        costly = handshake.costly
        self._mask &= UNTIL_EAGAIN
        self._over = handshake.proceed()
        if not self._over and self._mask & UNTIL_EAGAIN:  # the end of file came in the same edge as the bytes before it
            self._over = handshake.proceed()
        if not (self._over or costly) and handshake.costly:  # its bytes may have come already
            self.begin()

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the loop
        self._over = True
        self._handshake.failed()

    def cancel(self) -> None:
        self._over = True
        self._loop.close(self._sock)
