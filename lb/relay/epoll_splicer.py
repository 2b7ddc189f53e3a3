"""The fast splicer: acceptors, connects and relays on one epoll loop.

Sockets are of the C type ``socket.SocketType``. The Python class around it adds nothing useful here and costs 3 µs per
connection.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

import trio

from lb.model.address import SocketAddress
from lb.model.timing import Histogram
from lb.net.deadlines import DeadlineQueue
from lb.relay.epoll_acceptor import EpollAcceptor
from lb.relay.epoll_connecting import EpollConnecting
from lb.relay.epoll_loop import EpollLoop
from lb.relay.epoll_relay import EpollRelay, TimedRelay
from lb.relay.portable_relay import PortableRelay
from lb.relay.splicer import ConnectingOwner, RelayOwner
from lb.tls.layer import Layer

__all__ = ["EpollSplicer"]


class EpollSplicer:
    """Implements :class:`lb.relay.splicer.Splicer` on a loop that only this splicer runs."""

    def __init__(self, loop: EpollLoop) -> None:
        self._loop = loop
        self._nursery: trio.Nursery

    @property
    def batches(self) -> int:
        return self._loop.batches

    @property
    def edges(self) -> int:
        return self._loop.edges

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._loop.run)
            task_status.started()

    def listen(
        self,
        listening: socket.socket,
        *,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> EpollAcceptor:
        acceptor = EpollAcceptor(self._loop, listening, may_accept, accepted, exhausted)
        acceptor.watch()
        return acceptor

    def connect(self, address: SocketAddress, owner: ConnectingOwner) -> EpollConnecting:
        family, target = address
        sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        error = sock.connect_ex(target)  # type: ignore[arg-type]
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        connecting = EpollConnecting(self._loop, sock, target, owner)
        self._loop.watch(sock.fileno(), connecting)
        return connecting

    def relay(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        first_byte: Histogram | None,
    ) -> EpollRelay:
        loop = self._loop
        connecting = loop.handlers[server.fileno()]
        assert isinstance(connecting, EpollConnecting)  # noqa: S101 - servers come from connect()
        if first_byte is None:
            relay = EpollRelay(loop, client, server, owner, half_close, connecting.ready)
        else:
            relay = TimedRelay(loop, client, server, owner, half_close, connecting.ready, first_byte)
        loop.watch(client.fileno(), relay.client)
        loop.handlers[server.fileno()] = relay.server
        relay.enter(idle)
        return relay

    def release(self, server: socket.SocketType) -> None:
        if server.fileno() in self._loop.handlers:
            self._loop.unwatch(server.fileno())

    def relay_layered(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        layers: tuple[Layer, Layer],
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        first_byte: Histogram | None,
    ) -> PortableRelay:
        self.release(server)
        relay = PortableRelay(client, server, owner, layers, idle, half_close, self._loop.fault, first_byte)
        self._nursery.start_soon(relay.run)
        return relay
