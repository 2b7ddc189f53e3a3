"""Two sockets joined on the portable splicer: a task for each direction."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import trio

from lb.deadlines import DeadlineQueue
from lb.events import EndedBy, Reason
from lb.splicer import TIMEOUTS, RelayOwner, end_with_reset

__all__ = ["TrioRelay"]

BUFFER = 64 * 1024
"""Bytes read at once, and so held at most per direction."""


class _Side:
    """One socket of a relay, and how far the bytes that come from it have got."""

    def __init__(self, name: EndedBy, sock: socket.SocketType) -> None:
        self.name: EndedBy = name
        self.sock = sock
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
        """True if bytes were read from one side that the other has not taken yet."""
        return self._client.holding or self._server.holding

    def _touch(self) -> None:
        self._queue.touch(self, trio.current_time())

    def expired(self, queue: DeadlineQueue) -> None:
        """No sign of life for the queue's timeout."""
        if self.holds_bytes:
            self._reset_both()
        self._outcome = ("lb", TIMEOUTS[queue.kind])
        self._scope.cancel()

    def close(self, *, reset: bool) -> None:
        if reset:
            self._reset_both()
        self._queue.discard(self)
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
            self._reset_both()
            self._outcome = ("lb", "reset")
        finally:
            self._client.sock.close()
            self._server.sock.close()
        if self._outcome is not None:
            self._queue.discard(self)
            self._owner.relay_ended(*self._outcome)

    def _reset_both(self) -> None:
        end_with_reset(self._client.sock)
        end_with_reset(self._server.sock)

    async def _copy(self, source: _Side, target: _Side) -> None:
        """Move bytes one way until that way ends.

        What a call on a socket said is acted on before anybody else gets a turn: an error is told to one call only.
        """
        while True:
            await trio.lowlevel.checkpoint()
            try:
                data = source.sock.recv(BUFFER)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(source.sock)
                continue
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
                    count = target.sock.send(view[sent:])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(target.sock)
                    await trio.lowlevel.checkpoint_if_cancelled()
                    continue
                except OSError:
                    self._write_failed(source, target)
                    return False
                sent += count
                source.moved += count
                self._touch()
        return True

    def _write_failed(self, source: _Side, target: _Side) -> None:
        """``target`` is gone. What it had sent before may still be unread: its own reads decide how this ends."""
        source.cut = True
        source.holding = False
        if target.cut:
            self._reset(source)  # which was gone before
        elif target.ended:
            self._reset(target)

    def _end(self, source: _Side, target: _Side) -> None:
        source.ended = True
        if target.cut:
            self._reset(source)
        elif self._first is None:
            self._first = source
            self._queue.discard(self)
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
        end_with_reset((self._server if source is self._client else self._client).sock)
        self._outcome = (source.name, "reset")
        self._scope.cancel()
