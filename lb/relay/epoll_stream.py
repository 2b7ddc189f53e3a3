"""A socket in the loop that a mode reads and writes itself, plain or through TLS.

A relay moves bytes that nobody looks at. A stream is for modes that do look: they read heads, write heads, and let
bodies flow from one stream to another. Each socket is registered once, for both directions, edge-triggered, like those
of a relay. A subclass gets :meth:`EpollStream.on_readable` and :meth:`EpollStream.on_writable`.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Sequence
from types import FunctionType
from typing import ClassVar

from lb.net.tcp import end_with_reset
from lb.relay.epoll_loop import BUFFER, EpollLoop
from lb.relay.epoll_relay import MOST_UNREAD, READABLE, UNTIL_EAGAIN, WRITABLE
from lb.relay.epoll_tls import CRYPTO, CRYPTO_READ, CRYPTO_RECORD, OVERDRAFT
from lb.tls.layer import Tls

__all__ = ["EpollStream"]

JOINED = 16 * 1024
"""Bytes up to which two parts are copied together and sent with one call."""
_MAX_PIECES = 1024
"""IOV_MAX of Linux."""
_DROPS = 16
"""Reads in a turn of what is dropped."""


def _copy(function: FunctionType) -> FunctionType:
    code = function.__code__.replace()
    made = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


class EpollStream:
    """One socket of a mode. ``tls`` is its TLS, whose handshake is complete. Implements BulkHandler."""

    __slots__ = (
        "bounded",
        "closed",
        "last_activity",
        "loop",
        "queued",
        "readable",
        "received",
        "sent",
        "sock",
        "streak",
        "tls",
        "turn",
        "unread",
        "unsent",
        "until_eagain",
        "writable",
    )

    busiest: ClassVar[tuple[str, ...]] = ("edge", "read", "read_bytes", "_read_tls", "write", "write_two")
    """Methods that a class has copies of."""
    spliced = True
    """Bulk may pass from and to its socket by splice, past :meth:`read` and :meth:`write`."""

    def __init_subclass__(cls) -> None:
        """Give each class its own copy of the busiest methods.

        CPython adapts the code of a function to the type of ``self``. With two types in turn it gives up, and the
        function takes about a fifth longer.
        """
        super().__init_subclass__()
        for name in cls.busiest:
            setattr(cls, name, _copy(getattr(cls, name)))

    def __init__(self, loop: EpollLoop, sock: socket.SocketType, tls: Tls | None, ready: int) -> None:
        self.loop = loop
        self.turn = loop.turn
        self.sock = sock
        self.tls = tls
        self.take_ready(ready)
        self.writable = True
        self.closed = False
        self.queued = False
        self.bounded = False
        """Its receive buffer is bounded."""
        self.unread = b""
        """Bytes of the stream that were read and given back. They come first in the next read."""
        self.unsent = b""
        """Bytes that the socket has not accepted yet, encrypted if there is TLS."""
        self.streak = 0
        """Consecutive bytes read by splice."""
        self.received = self.sent = 0
        """Bytes of the socket, TLS included."""
        self.last_activity = loop.turn.now

    def take_ready(self, ready: int) -> None:
        """Take over what the handler before this one gets no further edge for, as an epoll mask."""
        tls = self.tls
        self.readable = ready & READABLE != 0 or (tls is not None and bool(tls.early or tls.ended))
        self.until_eagain = ready & UNTIL_EAGAIN != 0

    @property
    def ready(self) -> int:
        """Epoll mask of what the next handler of the socket gets no further edge for."""
        return (select.EPOLLIN if self.readable else 0) | (select.EPOLLRDHUP if self.until_eagain else 0)

    @property
    def has_input(self) -> bool:
        """True if a read may return something now."""
        return self.readable or self.unread != b""

    # Calls of the loop

    def edge(self, mask: int) -> None:
        self.last_activity = self.turn.now
        if mask & WRITABLE and not self.writable:
            self.writable = True
            if not self.unsent or self._flush():
                self.on_writable()
            if self.closed:
                return
        if mask & READABLE:
            self.readable = True
            if mask & UNTIL_EAGAIN:
                self.until_eagain = True
            self.on_readable()

    def again(self) -> None:
        """Continue after the turn's budget was used up."""
        self.queued = False
        if not self.closed:
            self.last_activity = self.turn.now
            self.on_readable()

    def failed(self, exception: Exception) -> None:
        """A bug: end what belongs to this socket, and nothing else."""
        raise NotImplementedError

    def on_readable(self) -> None:
        """The socket may have bytes or an end."""
        raise NotImplementedError

    def on_writable(self) -> None:
        """The socket accepts bytes again, and nothing is unsent."""
        raise NotImplementedError

    def on_broken(self, error: OSError) -> None:
        """Unsent bytes could not be sent."""
        raise NotImplementedError

    # Reads

    def read(self, most: int = BUFFER) -> memoryview | None:
        """Read bytes of the stream; empty at its end, None if there are none yet. TLS may return more than ``most``.

        The bytes lie in a buffer that all streams share: they are valid until the next read. Raises OSError.
        """
        if self.unread:
            data, self.unread = self.unread, b""
            if len(data) > most:
                data, self.unread = data[:most], data[most:]
            return memoryview(data)
        if self.tls is not None:
            return self._read_tls(self.tls)
        turn = self.turn
        try:
            count = self.sock.recv_into(turn.buffer, most)
        except BlockingIOError:
            self.readable = False
            return None
        self.received += count
        if count < most and not self.until_eagain:
            self.readable = False
        return turn.view[:count]

    def read_bytes(self, most: int) -> bytes | None:
        """The same, in an object of its own: for a few bytes that are kept."""
        if self.unread and len(self.unread) <= most:
            unread, self.unread = self.unread, b""
            return unread
        if self.unread or self.tls is not None:
            data = self.read(most) if self.unread or self.tls is None else self._read_tls(self.tls)
            return None if data is None else data.tobytes()
        try:
            received = self.sock.recv(most)
        except BlockingIOError:
            self.readable = False
            return None
        self.received += len(received)
        if len(received) < most and not self.until_eagain:
            self.readable = False
        return received

    def _read_tls(self, tls: Tls) -> memoryview | None:
        turn = self.turn
        if tls.early:
            early, tls.early = tls.early, b""
            return memoryview(early)
        while not tls.ended:
            if turn.budget < OVERDRAFT:
                self.continue_later()
                return None
            try:
                count = self.sock.recv_into(turn.buffer, CRYPTO_READ)
            except BlockingIOError:
                self.readable = False
                return None
            if not count:
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "cut off")
            self.received += count
            if count < CRYPTO_READ and not self.until_eagain:
                self.readable = False
            length = tls.open_into(turn.view[:count], turn.plain)
            turn.budget -= CRYPTO * count + CRYPTO_RECORD * tls.work
            if tls.ended:
                self.readable = True  # the next read returns the end
            if length:
                return turn.plain[:length]
            if not self.readable:
                return None
        return memoryview(b"")

    def take_ahead(self) -> bytes:
        """Return what was read and given back."""
        unread, self.unread = self.unread, b""
        return unread

    def give_back(self, data: bytes) -> None:
        """Let the next read begin with these bytes."""
        self.unread = data + self.unread

    def drop_input(self) -> bool:
        """Read and drop what has come, a little in a turn. Return True if no more comes."""
        self.unread = b""
        try:
            for _ in range(_DROPS):
                data = self.read()
                if data is None:
                    return False
                if not data:
                    return True
                self.turn.budget -= len(data)
        except OSError:
            return True
        self.continue_later()
        return False

    # Writes

    def write(self, data: bytes | memoryview, *, more: bool = False) -> None:
        """Send bytes of the stream, now or when the socket accepts them. Raises OSError.

        The caller does not write bodies while bytes are unsent: see :attr:`unsent`. ``more``: others follow at once, so
        the kernel may put them into the same packet.
        """
        if self.tls is not None:
            data = self.tls.seal(data)
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self.sock.send(data, socket.MSG_MORE if more else 0)
        except BlockingIOError:
            sent = 0
        self.sent += sent
        if sent < len(data):
            self.unsent = bytes(data[sent:])
            self.writable = False

    def write_two(self, head: bytes, data: bytes | memoryview) -> None:
        """Send two parts, with one call. Raises OSError."""
        if self.tls is not None or self.unsent:
            self.write(head + data)
            return
        small = len(data) <= JOINED
        both = head + data if small else b""
        try:
            sent = self.sock.send(both) if small else self.sock.sendmsg((head, data))
        except BlockingIOError:
            sent = 0
        self.sent += sent
        if sent < len(head) + len(data):
            self.unsent = (both or head + data)[sent:]
            self.writable = False

    def write_pieces(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send many parts with one call, without a copy of what the socket accepts. Raises OSError."""
        if self.tls is not None or self.unsent or len(pieces) > _MAX_PIECES:
            self.write(memoryview(b"".join(pieces)))
            return
        try:
            sent = self.sock.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        self.sent += sent
        left = iter(pieces)
        for piece in left:
            sent -= len(piece)
            if sent < 0:
                self.unsent = b"".join((memoryview(piece)[sent:], *left))
                self.writable = False

    def _flush(self) -> bool:
        """Send what is unsent. Return True if nothing is left."""
        try:
            sent = self.sock.send(self.unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self.unsent = b""
            self.on_broken(error)
            return False
        self.sent += sent
        self.unsent = self.unsent[sent:]
        if self.unsent:
            self.writable = False
        return not self.unsent

    # Bulk

    def continue_later(self) -> None:
        """Call :meth:`on_readable` when the turn has budget for it."""
        if not self.queued:
            self.queued = True
            self.loop.queue(self)

    def wake_at(self, count: int) -> None:
        """Request the next edge when ``count`` bytes or the end can be read."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def bound_buffer(self) -> None:
        """Bound what the kernel receives before it is read; see MOST_UNREAD."""
        if not self.bounded:
            self.bounded = True
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MOST_UNREAD)

    # The end

    def shut_down(self) -> None:
        """Send the end of the stream. What the peer sends can still be read. Raises OSError."""
        if self.tls is not None:
            self.sock.send(self.tls.finish())
        self.sock.shutdown(socket.SHUT_WR)

    def close_socket(self, *, reset: bool = False) -> None:
        """Close the socket. ``reset``: with a RST, so that a truncated stream does not look complete."""
        self.closed = True
        if self.tls is not None:
            self.tls.closed()
        if reset:
            end_with_reset(self.sock)
        self.unsent = self.unread = b""
        self.loop.close(self.sock)
