"""The fast splicer: acceptors, connects, handshakes and relays on one epoll loop.

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
from lb.net.outgoing import Outgoing
from lb.relay.bandwidth import Bandwidth
from lb.relay.epoll_acceptor import EpollAcceptor
from lb.relay.epoll_connecting import EpollConnecting
from lb.relay.epoll_handshake import EpollHandshake
from lb.relay.epoll_limited import LimitedRelay, TimedLimitedRelay, limit
from lb.relay.epoll_loop import EpollLoop
from lb.relay.epoll_relay import EpollRelay, TimedRelay
from lb.relay.epoll_stream import EpollStream
from lb.relay.epoll_tls import TimedTlsRelay, TlsRelay, secure
from lb.relay.splicer import ConnectingOwner, Handshake, RelayOwner
from lb.tls.layer import Tls

__all__ = ["EpollSplicer"]


class EpollSplicer:
    """Implements :class:`lb.relay.splicer.Splicer` on a loop that only this splicer runs."""

    def __init__(self, loop: EpollLoop) -> None:
        self._loop = loop

    @property
    def loop(self) -> EpollLoop:
        """The loop, for modes that read and write themselves (:class:`lb.relay.epoll_stream.EpollStream`)."""
        return self._loop

    @property
    def batches(self) -> int:
        return self._loop.batches

    @property
    def edges(self) -> int:
        return self._loop.edges

    @property
    def costly_waiting(self) -> int:
        return self._loop.costly_waiting

    @property
    def crowded(self) -> bool:
        return self._loop.crowded

    def when_few_costly(self, callback: Callable[[], None]) -> None:
        self._loop.on_few_costly = callback

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self._loop.run(task_status=task_status)

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

    def connect(
        self, address: SocketAddress, owner: ConnectingOwner, outgoing: Outgoing | None = None
    ) -> EpollConnecting:
        family, target = address
        sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if outgoing is not None:
            outgoing.prepare(sock)
        error = sock.connect_ex(target)  # type: ignore[arg-type]
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        connecting = EpollConnecting(self._loop, sock, target, owner)
        self._loop.watch(sock.fileno(), connecting)
        return connecting

    def handshake(self, sock: socket.SocketType, handshake: Handshake) -> EpollHandshake:
        loop, fd = self._loop, sock.fileno()
        connecting = loop.handlers.get(fd)
        if isinstance(connecting, EpollConnecting):
            handler = EpollHandshake(loop, sock, handshake, connecting.ready)
            loop.handlers[fd] = handler
            handler.begin()
        else:
            handler = EpollHandshake(loop, sock, handshake, 0)
            loop.watch(fd, handler)
        return handler

    def relay(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        first_byte: Histogram | None,
        client_tls: Tls | None = None,
        server_tls: Tls | None = None,
        bandwidth: Bandwidth | None = None,
    ) -> EpollRelay:
        loop = self._loop
        connecting = loop.handlers[server.fileno()]
        assert isinstance(connecting, EpollConnecting | EpollHandshake | EpollStream)  # noqa: S101 - from connect()
        greeted = loop.handlers.get(client.fileno())
        ready = (greeted.ready if isinstance(greeted, EpollHandshake | EpollStream) else 0, connecting.ready)
        tls = client_tls is not None or server_tls is not None
        plain, timed = (TlsRelay, TimedTlsRelay) if tls else (EpollRelay, TimedRelay)
        if bandwidth is not None:
            plain, timed = LimitedRelay, TimedLimitedRelay
        if first_byte is None:
            relay = plain(loop, client, server, owner, half_close, ready)
        else:
            relay = timed(loop, client, server, owner, half_close, ready, first_byte)
        if bandwidth is not None:
            limit(relay, bandwidth)
        if tls:
            secure(relay, client_tls, server_tls)
        loop.handlers[server.fileno()] = relay.server
        if greeted is None:
            loop.watch(client.fileno(), relay.client)  # its first edge starts both sides
        else:
            loop.handlers[client.fileno()] = relay.client
            relay.start()
        relay.enter(idle)
        return relay
