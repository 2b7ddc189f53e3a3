"""The portable splicer: plain trio tasks, one per listening socket, connect and handshake, two per connection.

It is slower than :mod:`lb.relay.epoll_splicer`, behaves the same, and is easier to read. Where the two differ, this one
is correct.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Awaitable, Callable

import trio

from lb.model.address import SocketAddress
from lb.model.timing import Histogram
from lb.net.deadlines import DeadlineQueue
from lb.net.errors import EXHAUSTED
from lb.net.outgoing import Outgoing
from lb.net.tcp import is_self_connected
from lb.relay.bandwidth import Bandwidth
from lb.relay.portable_relay import PortableRelay
from lb.relay.splicer import (
    ACCEPT_GO_ON,
    ACCEPTS,
    EXHAUSTED_PAUSE,
    MOST_WAITING,
    ConnectingOwner,
    Handshake,
    RelayOwner,
)
from lb.tls.layer import Clear, Tls

__all__ = ["PortableSplicer"]

PEEK_INTERVAL = 0.01
"""Seconds until a unix socket is read again for more bytes than a handshake has left in it."""


class PortableSplicer:
    """Implements :class:`lb.relay.splicer.Splicer`. ``fault`` reports bugs; each closes only one connection."""

    def __init__(self, *, fault: Callable[[str, Exception], None]) -> None:
        self.batches = self.edges = 0  # trio polls the sockets, not this splicer
        self.costly_waiting, self.crowded = 0, False
        self.fault = fault
        self._nursery: trio.Nursery

    def when_few_costly(self, callback: Callable[[], None]) -> None:
        """Do nothing: no steps wait for a turn."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def _contained(self, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
            self.fault("splicer", exception)

    def listen(
        self,
        listening: socket.socket,
        *,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> PortableAcceptor:
        acceptor = PortableAcceptor(listening, may_accept, accepted, exhausted, self.fault)
        self._nursery.start_soon(acceptor.run)
        return acceptor

    def connect(
        self, address: SocketAddress, owner: ConnectingOwner, outgoing: Outgoing | None = None
    ) -> PortableConnecting:
        family, target = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if outgoing is not None:
            outgoing.prepare(sock)
        error = sock.connect_ex(target)  # type: ignore[arg-type]
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        connecting = PortableConnecting(sock, target, owner)
        self._nursery.start_soon(self._contained, connecting.run)
        return connecting

    def handshake(self, sock: socket.SocketType, handshake: Handshake) -> PortableHandshake:
        running = PortableHandshake(sock, handshake)
        self._nursery.start_soon(self._contained, running.run)
        return running

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
    ) -> PortableRelay:
        layers = (client_tls or Clear(), server_tls or Clear())
        relay = PortableRelay(client, server, owner, layers, idle, half_close, self.fault, first_byte, bandwidth)
        self._nursery.start_soon(relay.run)
        return relay


class PortableAcceptor:
    """Implements :class:`lb.relay.splicer.Acceptor`."""

    def __init__(
        self,
        listening: socket.socket,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
        fault: Callable[[str, Exception], None],
    ) -> None:
        self._listening = listening
        self._may_accept = may_accept
        self._accepted = accepted
        self._exhausted = exhausted
        self._fault = fault
        self._resumed = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            while not self._scope.cancel_called:
                await trio.lowlevel.wait_readable(self._listening)
                await trio.lowlevel.checkpoint_if_cancelled()  # detached after it became readable
                if not self._may_accept():
                    await self._resumed.wait()
                    self._resumed = trio.Event()
                elif not self._accept_contained():
                    await trio.sleep(EXHAUSTED_PAUSE)

    def _accept_contained(self) -> bool:
        """Accept one client, if there still is one. Return False if the caller should pause."""
        try:
            return self._accept()
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
            self._fault("splicer", exception)
            return False

    def _accept(self) -> bool:
        """Accept one client. Return False if the system is out of descriptors or memory."""
        try:
            client, address = self._listening.accept()
        except OSError as error:
            if error.errno == errno.EAGAIN or error.errno in ACCEPT_GO_ON:
                return True
            if error.errno not in EXHAUSTED:
                raise
            self._exhausted(error)
            return False
        client.setblocking(False)
        self._accepted(client, address)
        return True

    def resume(self) -> None:
        self._resumed.set()

    def stand_aside(self) -> None:
        """Do nothing: other processes see every new client as well."""

    def detach(self) -> None:
        self._scope.cancel()

    async def finish(self) -> None:
        for number in range(1, MOST_WAITING + 1):
            waiting = select.select([self._listening], [], [], 0)[0]
            if not (waiting and self._may_accept() and self._accept_contained()):
                break
            if number % ACCEPTS == 0:
                await trio.lowlevel.checkpoint()
        self._scope.cancel()
        trio.lowlevel.notify_closing(self._listening)


class PortableConnecting:
    """Implements :class:`lb.relay.splicer.Connecting`."""

    def __init__(self, sock: socket.socket, target: object, owner: ConnectingOwner) -> None:
        self._sock = sock
        self._target = target
        self._owner = owner
        self._scope = trio.CancelScope()
        self._connected = False

    async def run(self) -> None:
        with self._scope:
            await trio.lowlevel.wait_writable(self._sock)
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not error and is_self_connected(self._sock, self._target):
            error = errno.ECONNREFUSED
        if self._scope.cancel_called:
            self._sock.close()
        elif error:
            self._sock.close()
            self._owner.connect_failed(OSError(error, os.strerror(error)))
        else:
            self._connected = True
            try:
                self._owner.connected(self._sock)
            except Exception as exception:
                self._sock.close()
                self._owner.connect_failed(OSError(errno.EIO, f"fault: {exception}"))
                raise

    def cancel(self) -> None:
        if self._connected:
            self._sock.close()
        else:
            self._scope.cancel()


class PortableHandshake:
    """Implements :class:`lb.relay.splicer.RunningHandshake`."""

    def __init__(self, sock: socket.SocketType, handshake: Handshake) -> None:
        self._sock = sock
        self._handshake = handshake
        self._scope = trio.CancelScope()
        self._waiting = trio.CancelScope()
        """The wait for the socket."""

    def wake(self) -> None:
        self._waiting.cancel()

    async def run(self) -> None:
        with self._scope:
            await trio.lowlevel.checkpoint()
            try:
                while not self._handshake.proceed():
                    with trio.CancelScope() as self._waiting:
                        await self._ready()
            except Exception:
                self._handshake.failed()
                raise

    async def _ready(self) -> None:
        """Wait until the socket accepts bytes, or holds more than the handshake has left in it, or its end."""
        sock, unread = self._sock, self._handshake.unread
        if self._handshake.writing:
            await trio.lowlevel.wait_writable(sock)
        elif not unread:
            await trio.lowlevel.wait_readable(sock)
        elif sock.family == socket.AF_UNIX:  # no low-water mark, socket(7)
            await trio.sleep(PEEK_INTERVAL)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, unread + 1)
            try:
                await trio.lowlevel.wait_readable(sock)
            finally:
                if sock.fileno() != -1:  # the connection may have been closed meanwhile
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def cancel(self) -> None:
        self._scope.cancel()
        self._sock.close()
