"""Imagined sockets: of clients, of servers, and those that the balancer listens with."""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Callable
from typing import Self, cast

from lb.rehearse.agenda import Agenda
from lb.rehearse.servers import VirtualServer
from lb.splicing.departures import Waiting

__all__ = ["ListeningSocket", "ServerSocket", "VirtualAcceptor", "VirtualClient", "VirtualDepartures"]


class VirtualClient:
    """A client, as the socket that the balancer has of it."""

    __slots__ = ("_agenda", "arrived", "gone", "length", "patience", "waiting")
    family = socket.AF_INET

    def __init__(self, agenda: Agenda, length: float, patience: float) -> None:
        self._agenda = agenda
        self.arrived = agenda.now
        self.length = length
        """Seconds that it will stay, once it has a server."""
        self.patience = patience
        self.gone = False
        """It has given up before it had a server."""
        self.waiting: Waiting | None = None
        """Who wants to know of that."""
        if patience != math.inf:
            agenda.after(patience, self._give_up)

    def _give_up(self) -> None:
        self.gone = True
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting.client_left("reset")

    def watch(self, waiting: Waiting) -> None:
        """Tell it once the client is gone."""
        self.waiting = waiting
        if self.gone:
            self._agenda.after(0, self._give_up)

    # As a socket

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """No bytes are imagined, so none are late."""

    def close(self) -> None:
        self.waiting = None


class ServerSocket:
    """Stands for any connection to a server."""

    def __init__(self, server: VirtualServer) -> None:
        self.server = server
        self.family = socket.AF_INET

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """No bytes are imagined, so none are late."""

    def close(self) -> None:
        """Nobody is there to notice."""


class VirtualDepartures:
    """Implements :class:`lb.splicing.departures.Watch`."""

    async def run(self) -> None:
        """Clients tell by themselves."""

    def watch(self, sock: socket.SocketType, waiting: Waiting) -> None:
        cast("VirtualClient", sock).watch(waiting)

    def forget(self, sock: socket.SocketType) -> None:
        cast("VirtualClient", sock).waiting = None


class ListeningSocket:
    """Where imagined clients connect: a backlog without a limit, and the socket that the balancer has of it.

    ``refused(name)`` is called for each client that nobody will accept.
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

    # As a socket

    def getsockname(self) -> str:
        return self._name

    def listen(self, backlog: int) -> None:
        """It does already."""

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
    """Implements :class:`lb.splicing.splicer.Acceptor`."""

    def __init__(
        self,
        listening: ListeningSocket,
        agenda: Agenda,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
    ) -> None:
        self._listening = listening
        self._agenda = agenda
        self._may_accept = may_accept
        self._accepted = accepted

    def accept(self) -> None:
        """Those who wait, as long as there is room."""
        backlog = self._listening.backlog
        while backlog and self._listening.acceptor is self and self._may_accept():
            client, peer = backlog.popleft()
            self._accepted(cast("socket.SocketType", client), peer)

    def resume(self) -> None:
        if self._listening.backlog:
            self._agenda.after(0, self.accept)

    def stand_aside(self) -> None:
        """There are no other processes."""

    def detach(self) -> None:
        self._listening.acceptor = None

    def close(self) -> None:
        self.accept()
        self.detach()
        self._listening.close()
