"""What an exchange writes on a stream of HTTP/2, on either side.

It goes into the connection's output, as far as both windows and the output have room for it; the rest is ``unsent``, as
that of a socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lb.http1.field import Field
from lb.http2.connection import Http2Connection
from lb.http2.hpack_writer import encode_fields
from lb.http2.stream import Http2Stream
from lb.relay.epoll_stream import EpollStream

__all__ = ["StreamOutput", "StreamWrites", "add_piece"]

_AT_ONCE = 16 * 1024
"""Bytes of a piece of a body that are sent at once. Fewer wait for what else there is at the end of the turn."""
_SHORT = 4 * 1024
"""Bytes up to which pieces that have come are joined: the objects of many short ones would take more memory."""


class StreamOutput(Protocol):
    """The connection of streams, as far as they write."""

    core: Http2Connection
    unsent: bytes

    def flush_later(self) -> None:
        """There is output: write it at the end of the turn."""

    def write_output(self) -> bool:
        """Write what there is now. Return True if the socket has taken all."""


class StreamWrites(EpollStream):
    """A stream that is written to like a socket. A subclass sets its four attributes."""

    __slots__ = ()
    busiest = (*EpollStream.busiest, "can_send", "finish")
    connection: StreamOutput
    stream: Http2Stream | None
    """None: it has not begun, and nothing is written."""
    _ends: bool
    """The stream ends behind what is unsent."""
    _trailers: bytes
    """The block of these comes behind it."""

    def write(self, data: bytes | memoryview, *, more: bool = False) -> None:  # noqa: ARG002 - the connection writes once for all
        self.last_activity = self.turn.now
        if self.unsent:
            self.unsent += data
            return
        stream, connection = self.stream, self.connection
        assert stream is not None  # noqa: S101 - the head was sent
        size = len(data)
        if size < _AT_ONCE or connection.unsent:
            sent = connection.core.send_data(stream, data, ended=self._ends)
            connection.flush_later()
        else:
            sent = self._write_at_once(stream, memoryview(data).toreadonly())
        if sent < size:
            self.unsent = bytes(data[sent:])
            self.writable = False

    def _write_at_once(self, stream: Http2Stream, data: memoryview) -> int:
        """Write a long piece from where it lies. Return how many bytes of it are written, or wait for the socket."""
        connection, sent = self.connection, 0
        while sent < len(data):
            count = connection.core.send_data(stream, data[sent:], ended=self._ends)
            sent += count
            if not (connection.write_output() and count):
                break
        return sent

    def can_send(self) -> None:
        """There is room for what is unsent, or for more of it."""
        core, stream = self.connection.core, self.stream
        assert stream is not None  # noqa: S101 - the connection calls
        if self.unsent:
            ends = self._ends and not self._trailers
            self.unsent = self.unsent[core.send_data(stream, self.unsent, ended=ends) :]
            self.last_activity = self.turn.now
            if self.unsent:
                return
            if self._trailers:
                core.send_headers(stream, self._trailers, ended=True)
        self.writable = True
        self.on_writable()

    def finish(self, trailers: Sequence[Field]) -> None:
        """All was written, but for what is unsent. ``trailers`` follow it."""
        stream, connection = self.stream, self.connection
        if stream is None or self._ends:
            return
        self._ends = True  # type: ignore[misc]  # a slot of each subclass
        block = encode_fields([(field.name, field.value) for field in trailers]) if trailers else b""
        if self.unsent:
            self._trailers = block  # type: ignore[misc]  # the same
            return
        if block:
            connection.core.send_headers(stream, block, ended=True)
        else:
            connection.core.send_data(stream, b"", ended=True)
        connection.flush_later()


def add_piece(pieces: list[bytes | memoryview], data: bytes) -> None:
    """Add what has come to what waits."""
    if pieces and len(pieces[-1]) + len(data) <= _SHORT:
        pieces[-1] = b"".join((pieces[-1], data))
    else:
        pieces.append(data)
