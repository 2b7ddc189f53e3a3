"""Simulated sockets: of clients, of servers, and listening sockets."""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Callable
from typing import Self, cast

from lb.net.disconnects import Waiting
from lb.tools.rehearse.servers import VirtualServer
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["ListeningSocket", "ServerSocket", "VirtualAcceptor", "VirtualClient", "VirtualDisconnects"]


class VirtualClient:
    """A client, in the form of the socket that the balancer accepts."""

    __slots__ = ("_clock", "arrived", "gone", "length", "patience", "served", "waiting")
    family = socket.AF_INET

    def __init__(self, clock: VirtualClock, length: float, patience: float, served: Callable[[], None]) -> None:
        self._clock = clock
        self.arrived = clock.now
        self.length = length
        """Seconds of the session, once it has a server."""
        self.patience = patience
        self.served = served
        """Called at the end of a session that was served to its end."""
        self.gone = False
        """The client gave up before it had a server."""
        self.waiting: Waiting | None = None
        """Notified when the client gives up."""
        if patience != math.inf:
            clock.after(patience, self._give_up)

    def _give_up(self) -> None:
        self.gone = True
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting.client_left("reset")

    def watch(self, waiting: Waiting) -> None:
        """Notify ``waiting`` when the client has given up."""
        self.waiting = waiting
        if self.gone:
            self._clock.after(0, self._give_up)

    # Socket interface

    def getsockname(self) -> tuple[str, int]:
        """Return port 0: a server without a port is the same whichever port its clients come to."""
        return "127.0.0.1", 0

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """No effect: bytes are not simulated."""

    def close(self) -> None:
        self.waiting = None


class ServerSocket:
    """Represents all connections to a server."""

    def __init__(self, server: VirtualServer) -> None:
        self.server = server
        self.family = socket.AF_INET

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """No effect: bytes are not simulated."""

    def close(self) -> None:
        """No effect."""


class VirtualDisconnects:
    """Implements :class:`lb.net.disconnects.Watch`."""

    async def run(self) -> None:
        """No effect: clients notify by themselves."""

    def watch(self, sock: socket.SocketType, waiting: Waiting) -> None:
        cast("VirtualClient", sock).watch(waiting)

    def forget(self, sock: socket.SocketType) -> None:
        cast("VirtualClient", sock).waiting = None


class ListeningSocket:
    """A simulated listening socket with an unlimited backlog.

    Calls ``refused(name)`` for each client that is not accepted.
    """

    family = socket.AF_INET

    def __init__(self, name: str, refused: Callable[[str], None]) -> None:
        self._name = name
        self._refused = refused
        self.acceptor: VirtualAcceptor | None = None
        self.backlog: deque[tuple[VirtualClient, object]] = deque()
        self._closed = False

    def connect(self, client: VirtualClient, peer: object) -> None:
        if self._closed:
            self._refused(self._name)
            return
        self.backlog.append((client, peer))
        if self.acceptor is not None:
            self.acceptor.accept()

    # Socket interface

    def setsockopt(self, level: int, option: int, value: int) -> None: ...

    def getsockname(self) -> str:
        return self._name

    def listen(self, backlog: int) -> None:
        """No effect: it listens already."""

    def close(self) -> None:
        self._closed = True
        for _ in self.backlog:
            self._refused(self._name)
        self.backlog.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VirtualAcceptor:
    """Implements :class:`lb.relay.splicer.Acceptor`."""

    def __init__(
        self,
        listening: ListeningSocket,
        clock: VirtualClock,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
    ) -> None:
        self._listening = listening
        self._clock = clock
        self._may_accept = may_accept
        self._accepted = accepted

    def accept(self) -> None:
        """Accept clients from the backlog while that is allowed."""
        backlog = self._listening.backlog
        while backlog and self._listening.acceptor is self and self._may_accept():
            client, peer = backlog.popleft()
            self._accepted(cast("socket.SocketType", client), peer)

    def resume(self) -> None:
        if self._listening.backlog:
            self._clock.after(0, self.accept)

    def stand_aside(self) -> None:
        """No effect: there are no other processes."""

    def detach(self) -> None:
        self._listening.acceptor = None

    async def finish(self) -> None:
        self.accept()
        self.detach()
