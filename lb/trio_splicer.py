"""The portable splicer: plain trio tasks, one per listener and connect, two per connection.

Slower than :mod:`lb.epoll_splicer`, the same to the outside, and easier to read: where they differ, this one is right.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable

import trio

from lb.deadlines import DeadlineQueue
from lb.events import EndedBy, Reason
from lb.model import SocketAddress
from lb.splicer import (
    ACCEPT_EXHAUSTED,
    ACCEPT_GO_ON,
    EXHAUSTED_PAUSE,
    ConnectingOwner,
    RelayOwner,
    end_with_reset,
    is_self_connected,
)

__all__ = ["TrioSplicer"]

BUFFER = 64 * 1024
"""Bytes read at once, and so held at most per direction."""


class TrioSplicer:
    """Implements :class:`lb.splicer.Splicer`. ``fault`` hears of bugs, which end one connection only."""

    def __init__(self, *, fault: Callable[[str, Exception], None]) -> None:
        self.fault = fault
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def listen(
        self,
        listening: socket.socket,
        *,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> TrioAcceptor:
        acceptor = TrioAcceptor(listening, may_accept, accepted, exhausted)
        self._nursery.start_soon(acceptor.run)
        return acceptor

    def connect(self, address: SocketAddress, owner: ConnectingOwner) -> TrioConnecting:
        family, target = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        error = sock.connect_ex(target)  # type: ignore[arg-type]
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        connecting = TrioConnecting(sock, target, owner)
        self._nursery.start_soon(connecting.run)
        return connecting

    def relay(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
    ) -> TrioRelay:
        relay = TrioRelay(client, server, owner, idle, half_close, self.fault)
        self._nursery.start_soon(relay.run)
        return relay


class TrioAcceptor:
    """Implements :class:`lb.splicer.Acceptor`."""

    def __init__(
        self,
        listening: socket.socket,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> None:
        self._listening = listening
        self._may_accept = may_accept
        self._accepted = accepted
        self._exhausted = exhausted
        self._resumed = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            while True:
                await trio.lowlevel.wait_readable(self._listening)
                if not self._may_accept():
                    await self._resumed.wait()
                    self._resumed = trio.Event()
                elif not self._accept():
                    await trio.sleep(EXHAUSTED_PAUSE)

    def _accept(self) -> bool:
        """Accept one client, if there still is one; False if the system is out of something."""
        try:
            client, address = self._listening.accept()
        except OSError as error:
            if error.errno == errno.EAGAIN or error.errno in ACCEPT_GO_ON:
                return True
            if error.errno not in ACCEPT_EXHAUSTED:
                raise
            self._exhausted(error)
            return False
        client.setblocking(False)
        self._accepted(client, address)
        return True

    def resume(self) -> None:
        self._resumed.set()

    def detach(self) -> None:
        self._scope.cancel()

    def close(self) -> None:
        while select.select([self._listening], [], [], 0)[0] and self._may_accept() and self._accept():
            pass
        self._scope.cancel()
        trio.lowlevel.notify_closing(self._listening)
        self._listening.close()


class TrioConnecting:
    """Implements :class:`lb.splicer.Connecting`."""

    def __init__(self, sock: socket.socket, target: object, owner: ConnectingOwner) -> None:
        self._sock = sock
        self._target = target
        self._owner = owner
        self._scope = trio.CancelScope()

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
            self._owner.connected(self._sock)

    def cancel(self) -> None:
        self._scope.cancel()


class _Side:
    """One socket of a relay, and how far the bytes that come from it have got."""

    def __init__(self, name: EndedBy, sock: socket.SocketType) -> None:
        assert isinstance(sock, socket.socket)  # noqa: S101 - this splicer made it
        self.name: EndedBy = name
        self.stdlib = sock
        self.sock = trio.socket.from_stdlib_socket(sock)
        self.moved = 0
        self.holding = False
        self.ended = False
        """End of file was read, and passed on."""
        self.cut = False
        """The other side takes no more of this side's bytes."""


class TrioRelay:
    """Implements :class:`lb.splicer.Relay`."""

    def __init__(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        fault: Callable[[str, Exception], None],
    ) -> None:
        self._client = _Side("client", client)
        self._server = _Side("server", server)
        self._owner = owner
        self._queue = idle
        self._half_close = half_close
        self._fault = fault
        self._scope = trio.CancelScope()
        self._outcome: tuple[EndedBy, Reason] | None = None
        self._first: _Side | None = None
        self._touch()

    @property
    def bytes_in(self) -> int:
        return self._client.moved

    @property
    def bytes_out(self) -> int:
        return self._server.moved

    @property
    def holds_bytes(self) -> bool:
        return self._client.holding or self._server.holding

    def _touch(self) -> None:
        self._queue.touch(self._owner, trio.current_time())

    def close(self, *, reset: bool) -> None:
        if reset:
            end_with_reset(self._client.stdlib)
            end_with_reset(self._server.stdlib)
        self._queue.discard(self._owner)
        self._outcome = None
        self._scope.cancel()

    async def run(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._copy, self._client, self._server)
                    nursery.start_soon(self._copy, self._server, self._client)
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
            self._fault("splicer", exception)
            self._outcome = ("client", "reset")
        finally:
            self._client.sock.close()
            self._server.sock.close()
        if self._outcome is not None:
            self._queue.discard(self._owner)
            self._owner.relay_ended(*self._outcome)

    async def _copy(self, source: _Side, target: _Side) -> None:
        """Move bytes one way until that way ends."""
        while True:
            try:
                data = await source.sock.recv(BUFFER)
            except OSError:
                self._reset(source)
                return
            self._touch()
            if not data:
                self._end(source, target)
                return
            source.holding = True
            if not await self._write(source, target, data):
                return
            source.holding = False

    async def _write(self, source: _Side, target: _Side, data: bytes) -> bool:
        """Write it all; False if the target takes no more."""
        with memoryview(data) as view:
            sent = 0
            while sent < len(data):
                try:
                    count = await target.sock.send(view[sent:])
                except OSError:
                    # What the target had sent before may still be unread: its own reads decide how this ends.
                    source.cut = True
                    source.holding = False
                    if target.ended:
                        self._reset(target)
                    return False
                sent += count
                source.moved += count
                self._touch()
        return True

    def _end(self, source: _Side, target: _Side) -> None:
        source.ended = True
        if target.cut:
            self._reset(source)
        elif self._first is None:
            self._first = source
            self._queue.discard(self._owner)
            self._queue = self._half_close
            self._touch()
            try:
                target.sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                if error.errno not in (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET):  # gone: its next read says so
                    raise
        else:
            self._outcome = (self._first.name, "eof")
            self._scope.cancel()

    def _reset(self, source: _Side) -> None:
        """``source`` is gone without an orderly end: pass that on."""
        end_with_reset((self._server if source is self._client else self._client).stdlib)
        self._outcome = (source.name, "reset")
        self._scope.cancel()
