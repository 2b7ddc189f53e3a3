"""Accepting clients on the fast splicer."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from lb.errors import EXHAUSTED
from lb.splicing.splicer import ACCEPT_GO_ON, MOST_WAITING

if TYPE_CHECKING:
    from lb.splicing.epoll_splicer import EpollSplicer

__all__ = ["EpollAcceptor"]

ACCEPTS = 64
"""Clients accepted from one listener before the other sockets get their turn."""
CLIENTS = select.EPOLLIN | select.EPOLLET | select.EPOLLEXCLUSIVE
"""Of several processes that listen on one socket and wait in their epoll, one is woken for each client, not all."""


class EpollAcceptor:
    """Accepts the clients of one listening socket."""

    __slots__ = (
        "_accepted",
        "_detached",
        "_exhausted",
        "_family",
        "_listening",
        "_may_accept",
        "_resuming",
        "_splicer",
        "_watching",
    )

    def __init__(
        self,
        splicer: EpollSplicer,
        listening: socket.socket,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> None:
        self._splicer = splicer
        self._listening = listening
        self._family = listening.family
        self._may_accept = may_accept
        self._accepted = accepted
        self._exhausted = exhausted
        self._resuming = False
        self._detached = False
        self._watching = False

    def watch(self) -> None:
        """Hear of clients that come, and of those who are there already."""
        self._watching = True
        self._splicer.watch(self._listening.fileno(), self, CLIENTS)

    def edge(self, mask: int) -> None:  # noqa: ARG002 - whatever it was, accept tells
        self.resume()

    def _accept_share(self) -> bool:
        """Accept what waits in the backlog; False if nothing is left there that may be accepted now."""
        for _ in range(ACCEPTS):
            if not self._may_accept():
                return False
            try:
                fd, address = self._listening._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - what socket.accept() itself calls
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in ACCEPT_GO_ON:
                    continue
                if error.errno not in EXHAUSTED:
                    raise
                self._exhausted(error)
                self._splicer.pause(self)
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
            self._splicer.later(self)

    def again(self) -> None:
        self._resuming = False
        if not self._detached and self._accept_share():
            self.resume()

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the splicer
        self._splicer.pause(self)

    def stand_aside(self) -> None:
        if self._watching:
            self._watching = False
            self._splicer.unwatch(self._listening.fileno())

    def detach(self) -> None:
        self.stand_aside()
        self._detached = True

    def close(self) -> None:
        try:
            for _ in range(MOST_WAITING // ACCEPTS):
                if not self._accept_share():
                    break
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not keep the listener open
            self._splicer.fault("splicer", exception)
        self.detach()  # the epoll would not notice the close, as other processes may have the socket
        self._splicer.close(self._listening)
