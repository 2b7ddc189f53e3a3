"""A relay of plain trio tasks, one for each direction.

The layers of both sides decode and encode the bytes on the way, if a side speaks TLS.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import trio

from lb.events import EndedBy, Reason
from lb.model.timing import Histogram
from lb.net.deadlines import DeadlineQueue
from lb.net.tcp import end_with_reset
from lb.relay.bandwidth import Bandwidth, Meter
from lb.relay.splicer import TIMEOUTS, RelayOwner
from lb.tls.layer import Layer

__all__ = ["PortableRelay"]

READ_SIZE = 64 * 1024
"""Maximum bytes per read, and so the maximum held per direction."""
PEER_GONE = (errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET)
"""Errors of a socket whose peer has reset the connection."""


class _Side:
    """One socket of a relay, and the progress of the bytes that come from it."""

    def __init__(self, name: EndedBy, sock: socket.SocketType, layer: Layer) -> None:
        self.name: EndedBy = name
        self.sock = sock
        self.layer = layer
        self.moved = 0
        """Bytes of the stream that the other side has accepted."""
        self.holding = False
        self.ended = False
        """Its end was read."""
        self.done = False
        """Its end was forwarded."""
        self.cut = False
        """The other side accepts no more bytes from this side."""
        self.closed = False
        self._meter: Meter | None = None
        self._resumed = trio.Event()

    def limit(self, meter: Meter) -> None:
        """Read only what the meter lets pass."""
        self._meter = meter
        meter.side = self

    def resume(self) -> None:
        """Implements :class:`lb.relay.bandwidth.Metered`."""
        self._resumed.set()

    async def receive(self) -> bytes:
        """Read from the socket, once the meter lets bytes pass. Raises OSError, BlockingIOError too."""
        meter = self._meter
        if meter is None:
            return self.sock.recv(READ_SIZE)
        while not (allowed := meter.allowed()):
            self._resumed = trio.Event()
            await self._resumed.wait()
        received = self.sock.recv(min(READ_SIZE, allowed))
        meter.take(len(received))
        return received

    def pause(self) -> None:
        """It does not read for now."""
        if self._meter is not None:
            self._meter.release()

    def close(self) -> None:
        self.closed = True
        self.pause()
        self.sock.close()


class PortableRelay:
    """Implements :class:`lb.relay.splicer.Relay`. The ``layers`` are the client's and the server's."""

    def __init__(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        layers: tuple[Layer, Layer],
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        fault: Callable[[str, Exception], None],
        first_byte: Histogram | None,
        bandwidth: Bandwidth | None,
    ) -> None:
        self._client = _Side("client", client, layers[0])
        self._server = _Side("server", server, layers[1])
        if bandwidth is not None:
            self._client.limit(bandwidth.inwards)
            self._server.limit(bandwidth.outwards)
        self._owner = owner
        self._queue = idle
        self._half_close = half_close
        self._fault = fault
        self._scope = trio.CancelScope()
        self._outcome: tuple[EndedBy, Reason] | None = None
        self._first: _Side | None = None
        """The side that finished first."""
        self._moved_at_half_close = 0
        """Bytes that the other side had sent by then."""
        self._first_byte = first_byte
        """Receives the time to the server's first byte; None once recorded, or if not measured."""
        self._waiting_since = trio.current_time()
        self._restart_deadline()

    @property
    def bytes_in(self) -> int:
        return self._client.moved

    @property
    def bytes_out(self) -> int:
        return self._server.moved

    @property
    def holds_bytes(self) -> bool:
        """True if bytes were read from one side that the other has not accepted yet."""
        return self._client.holding or self._server.holding

    def _restart_deadline(self) -> None:
        self._queue.touch(self, trio.current_time())

    def expired(self, queue: DeadlineQueue) -> None:
        """There was no activity for the queue's timeout."""
        if self.holds_bytes:
            self._reset_both()
        else:
            self._send_closing_message(self._client)
            self._send_closing_message(self._server)
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
            self._client.close()
            self._server.close()
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
        """Move bytes in one direction until it ends.

        Act on the result of each socket call before other tasks run: the kernel reports an error to one call only.
        """
        data = source.layer.early
        while True:
            if data:
                if self._first_byte is not None:
                    self._record_first_byte(source, self._first_byte)
                source.holding = True
                if not await self._write(source, target, data):
                    return
                source.holding = False
            if source.layer.ended:
                await self._end(source, target)
                return
            await trio.lowlevel.checkpoint()
            try:
                received = await source.receive()
                self._restart_deadline()
                data = source.layer.open(received)
            except BlockingIOError:
                source.pause()
                await trio.lowlevel.wait_readable(source.sock)
                data = b""
            except ssl.SSLEOFError:
                self._handle_truncation(source, target)
                return
            except OSError:
                self._reset(source)
                return

    def _record_first_byte(self, source: _Side, first_byte: Histogram) -> None:
        """``source`` has sent data, and the server had sent nothing before."""
        now = trio.current_time()
        if source is self._server:
            first_byte.add(now - self._waiting_since)
            self._first_byte = None
        elif not source.moved:
            self._waiting_since = now

    async def _write(self, source: _Side, target: _Side, data: bytes) -> bool:
        """Write all of it. Return False if the target accepts no more."""
        sealed = target.layer.seal(data)
        before, overhead = source.moved, len(sealed) - len(data)
        with memoryview(sealed) as view:
            sent = 0
            while sent < len(sealed):
                try:
                    sent += target.sock.send(view[sent:])
                except BlockingIOError:
                    source.pause()
                    await trio.lowlevel.wait_writable(target.sock)
                    await trio.lowlevel.checkpoint_if_cancelled()
                    continue
                except OSError:
                    self._write_failed(source, target)
                    return False
                source.moved = before + max(0, sent - overhead)
                self._restart_deadline()
        return True

    def _write_failed(self, source: _Side, target: _Side) -> None:
        """``target`` is gone. Data that it sent earlier may still be unread: reads from it decide the end."""
        source.cut = True
        source.holding = False
        if target.cut:
            self._reset(source)  # source was gone first
        elif target.ended:
            self._reset(target)

    async def _end(self, source: _Side, target: _Side) -> None:
        source.ended = True
        if target.cut:
            self._reset(source)
            return
        if self._first is None:
            self._first = source
            self._moved_at_half_close = target.moved
            self._queue.discard(self)
            self._queue = self._half_close
            self._restart_deadline()
        await self._pass_end_on(source, target)
        source.done = True
        if target.done:
            self._outcome = (self._first.name, "eof")
            self._scope.cancel()

    async def _pass_end_on(self, source: _Side, target: _Side) -> None:
        """Send the end of the stream to the target. If the target is gone, its next read reports it."""
        closing_message = target.layer.finish()
        source.holding = bool(closing_message)
        try:
            while closing_message:
                try:
                    closing_message = closing_message[target.sock.send(closing_message) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(target.sock)
                    await trio.lowlevel.checkpoint_if_cancelled()
            if not target.done:  # otherwise both are closed next, with the same effect
                target.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in PEER_GONE:
                raise
        source.holding = False

    def _send_closing_message(self, side: _Side) -> None:
        """Send close_notify before an orderly close: a FIN alone would look like a truncated stream."""
        with suppress(OSError):  # the peer accepts no more data, or is gone: close without it
            if closing_message := side.layer.finish():
                side.sock.send(closing_message)

    def _handle_truncation(self, source: _Side, target: _Side) -> None:
        """Handle a FIN from ``source`` without close_notify.

        Many clients send only a FIN once the server has finished, and many servers once the client has finished, if
        they have nothing more to send. That is not a failure. But the target cannot tell whether data is missing, so it
        gets a reset.
        """
        if target.done and (source is self._client or source.moved == self._moved_at_half_close):
            end_with_reset(target.sock)
            self._outcome = (target.name, "eof")
            self._scope.cancel()
        else:
            self._reset(source)

    def _reset(self, source: _Side) -> None:
        """``source`` was reset: reset the other side too."""
        end_with_reset((self._server if source is self._client else self._client).sock)
        self._outcome = (source.name, "reset")
        self._scope.cancel()
