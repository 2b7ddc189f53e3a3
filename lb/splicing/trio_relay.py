"""Two sockets joined by plain trio tasks, one for each direction.

It is the portable splicer's relay, and where a side speaks TLS everybody's: the bytes have to pass through here then.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import trio

from lb.events import EndedBy, Reason
from lb.splicing.deadlines import DeadlineQueue
from lb.splicing.splicer import TIMEOUTS, RelayOwner, end_with_reset
from lb.timing import Spread
from lb.tls.layer import Layer

__all__ = ["TrioRelay"]

BUFFER = 64 * 1024
"""Bytes read at once, and so held at most per direction."""
GONE = (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET)
"""What a socket says whose peer has reset the connection."""


class _Side:
    """One socket of a relay, and how far the bytes that come from it have got."""

    def __init__(self, name: EndedBy, sock: socket.SocketType, layer: Layer) -> None:
        self.name: EndedBy = name
        self.sock = sock
        self.layer = layer
        self.moved = 0
        """Bytes of the stream that the other side has taken."""
        self.holding = False
        self.ended = False
        """Its end was read."""
        self.done = False
        """Its end was passed on."""
        self.cut = False
        """The other side takes no more of this side's bytes."""


class TrioRelay:
    """Implements :class:`lb.splicing.splicer.Relay`. The ``layers`` are the client's and the server's."""

    def __init__(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        layers: tuple[Layer, Layer],
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        fault: Callable[[str, Exception], None],
        first_byte: Spread | None,
    ) -> None:
        self._client = _Side("client", client, layers[0])
        self._server = _Side("server", server, layers[1])
        self._owner = owner
        self._queue = idle
        self._half_close = half_close
        self._fault = fault
        self._scope = trio.CancelScope()
        self._outcome: tuple[EndedBy, Reason] | None = None
        self._first: _Side | None = None
        """The side that has finished first."""
        self._moved_then = 0
        """What the other had said by then."""
        self._first_byte = first_byte
        """Gets the time to the server's first byte; None once it has it, or if nobody wants it."""
        self._waiting_since = trio.current_time()
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
        else:
            self._take_leave(self._client)
            self._take_leave(self._server)
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
            try:
                self._owner.relay_ended(*self._outcome)
            except Exception as exception:  # noqa: BLE001 - the same
                self._fault("splicer", exception)

    def _reset_both(self) -> None:
        end_with_reset(self._client.sock)
        end_with_reset(self._server.sock)

    async def _copy(self, source: _Side, target: _Side) -> None:
        """Move bytes one way until that way ends.

        What a call on a socket said is acted on before anybody else gets a turn: an error is told to one call only.
        """
        data = source.layer.early
        while True:
            if data:
                if self._first_byte is not None:
                    self._time(source, self._first_byte)
                source.holding = True
                if not await self._write(source, target, data):
                    return
                source.holding = False
            if source.layer.ended:
                await self._end(source, target)
                return
            await trio.lowlevel.checkpoint()
            try:
                received = source.sock.recv(BUFFER)
                self._touch()
                data = source.layer.open(received)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(source.sock)
                data = b""
            except ssl.SSLEOFError:
                self._cut_off(source, target)
                return
            except OSError:
                self._reset(source)
                return

    def _time(self, source: _Side, first_byte: Spread) -> None:
        """``source`` has said something, and the server nothing before."""
        now = trio.current_time()
        if source is self._server:
            first_byte.add(now - self._waiting_since)
            self._first_byte = None
        elif not source.moved:
            self._waiting_since = now

    async def _write(self, source: _Side, target: _Side, data: bytes) -> bool:
        """Write it all; False if the target takes no more."""
        sealed = target.layer.seal(data)
        before, overhead = source.moved, len(sealed) - len(data)
        with memoryview(sealed) as view:
            sent = 0
            while sent < len(sealed):
                try:
                    sent += target.sock.send(view[sent:])
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(target.sock)
                    await trio.lowlevel.checkpoint_if_cancelled()
                    continue
                except OSError:
                    self._write_failed(source, target)
                    return False
                source.moved = before + max(0, sent - overhead)
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

    async def _end(self, source: _Side, target: _Side) -> None:
        source.ended = True
        if target.cut:
            self._reset(source)
            return
        if self._first is None:
            self._first = source
            self._moved_then = target.moved
            self._queue.discard(self)
            self._queue = self._half_close
            self._touch()
        await self._pass_end_on(source, target)
        source.done = True
        if target.done:
            self._outcome = (self._first.name, "eof")
            self._scope.cancel()

    async def _pass_end_on(self, source: _Side, target: _Side) -> None:
        """If the target is gone, its next read says so."""
        farewell = target.layer.finish()
        source.holding = bool(farewell)
        try:
            while farewell:
                try:
                    farewell = farewell[target.sock.send(farewell) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(target.sock)
                    await trio.lowlevel.checkpoint_if_cancelled()
            if not target.done:  # else both are closed next, and that says the same
                target.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in GONE:
                raise
        source.holding = False

    def _take_leave(self, side: _Side) -> None:
        """Before a close in good order: a FIN alone would look as if something had been cut off."""
        with suppress(OSError):  # it takes no more, or is gone: then it has to do without
            if farewell := side.layer.finish():
                side.sock.send(farewell)

    def _cut_off(self, source: _Side, target: _Side) -> None:
        """A FIN where TLS has not ended.

        Many a client does that once the server has finished, and many a server once the client has, if it has nothing
        more to say: it is no failure. Yet the other cannot know that nothing is missing, and must not think so.
        """
        if target.done and (source is self._client or source.moved == self._moved_then):
            end_with_reset(target.sock)
            self._outcome = (target.name, "eof")
            self._scope.cancel()
        else:
            self._reset(source)

    def _reset(self, source: _Side) -> None:
        """``source`` is gone without an orderly end: pass that on."""
        end_with_reset((self._server if source is self._client else self._client).sock)
        self._outcome = (source.name, "reset")
        self._scope.cancel()
