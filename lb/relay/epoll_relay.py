"""The relay of the fast splicer: two joined sockets.

An :class:`EpollRelay` is the pair, with one deadline and one end. A :class:`Side` moves bytes from its own socket to
its peer's. Rules:

- A side writes the bytes that it has read before it reads more. It holds at most one buffer or one pipe of bytes.
- End of file ends a direction: after the last byte, the relay sends SHUT_WR to the peer. When both directions have
  ended, both sockets are closed.
- A failed read is a reset, and the relay resets the peer. A failed write ends only that direction: data that the
  failing side sent earlier may still be unread, so the relay keeps reading from it, and resets when those reads end.
"""

from __future__ import annotations

import math
import os
import select
import socket
from typing import ClassVar

from lb.events import EndedBy, Reason
from lb.model.timing import Histogram
from lb.net.deadlines import DeadlineQueue
from lb.net.tcp import end_with_reset
from lb.relay.epoll_loop import BUFFER, EpollLoop
from lb.relay.pipes import Pipe
from lb.relay.splicer import TIMEOUTS, RelayOwner

__all__ = ["EpollRelay", "Side", "TimedRelay"]

BULK = 32 * 1024
"""Bytes in one read from which the next read uses splice, which costs more system calls but no copy."""
SUSTAINED = 4 * 1024 * 1024
"""Consecutive bytes by splice after which a side gathers larger pieces; see EpollLoop.gather."""
MOST_UNREAD = 1024 * 1024
"""Bytes of a server's stream, in bulk, that the kernel receives before they are read. It takes twice the memory.

The kernel's own limit grows with the size of the first reads, up to tcp_rmem: 6 to 32 MiB for a client that reads
nothing. Servers are near, so a stream needs no more. A client may be far away, and its limit is the kernel's.
"""
SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
UNTIL_EAGAIN = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
READABLE = select.EPOLLIN | UNTIL_EAGAIN
WRITABLE = select.EPOLLOUT


class Side:
    """One socket of a relay, and the bytes in transit from it to its peer."""

    __slots__ = (
        "backlog",
        "bounded",
        "bulk",
        "closed",
        "cut",
        "done",
        "ended",
        "held",
        "moved",
        "name",
        "peer",
        "pipe",
        "piped",
        "queued",
        "readable",
        "relay",
        "shared",
        "sock",
        "streak",
        "until_eagain",
        "writable",
    )
    overdraft: ClassVar[float] = -math.inf
    """The turn's budget below which small messages wait too."""
    peer: Side

    def __init__(self, name: EndedBy, relay: EpollRelay, sock: socket.SocketType, ready: int) -> None:
        self.name: EndedBy = name
        self.relay = relay
        self.shared = relay.loop.turn
        self.sock = sock
        self.readable = ready & READABLE != 0
        self.writable = True
        self.until_eagain = ready & UNTIL_EAGAIN != 0
        """Read until EAGAIN, past a short read: the end or urgent data is pending, and urgent data stops each read."""
        self.ended = False
        """End of file was read and forwarded."""
        self.cut = False
        """The peer accepts no more bytes from this side."""
        self.done = False
        """``ended`` or ``cut``: this side moves no more bytes."""
        self.closed = False
        self.queued = False
        """The side is in the loop's queue."""
        self.bounded = False
        """Its receive buffer is bounded."""
        self.held = False
        """The peer has not accepted all bytes read: ``backlog``, or ``piped`` bytes in ``pipe``."""
        self.backlog = b""
        self.pipe: Pipe | None = None
        self.piped = 0
        self.bulk = False
        """The last read was large, so splice pays off."""
        self.streak = 0
        """Consecutive bytes read by splice."""
        self.moved = 0

    def edge(self, mask: int) -> None:
        """Handle a readiness edge of the socket."""
        self.relay.last_activity = self.shared.now
        peer = self.peer
        if mask & WRITABLE:
            self.writable = True
        if mask & READABLE:
            self.readable = True
            if mask & UNTIL_EAGAIN:
                self.until_eagain = True
            if not self.queued:
                self.pump()
        if (peer.held or peer.readable) and not self.closed and not peer.queued:
            peer.pump()

    def again(self) -> None:
        """Continue after the turn's budget was used up."""
        self.queued = False
        if not self.closed:
            self.relay.last_activity = self.shared.now
            self.pump()

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the loop
        if not self.closed:
            self.relay.failed()

    def pump(self) -> None:
        """Move bytes to the peer until this side has none, the peer accepts none, or the turn's budget is used up.

        The budget limits only bulk, unless it is overdrawn. Small messages are sent at once, for low latency.
        """
        peer = self.peer
        shared = self.shared
        moved = 0
        while (self.readable or self.held) and peer.writable and not self.done:
            if self.held:
                if self._write_held():
                    continue
                return
            if shared.budget <= 0 and (self.bulk or moved >= BUFFER or shared.budget < self.overdraft):
                self.continue_later()
                return
            try:
                received = self._splice() if self.bulk else self._pass_on()
            except BlockingIOError:
                self.readable = False
                if self.pipe is not None:
                    self._return_pipe(self.pipe)
                return
            except OSError as error:
                self.read_failed(error)
                return
            if received == 0:
                self._read_end()
            moved += received
            shared.budget -= received

    def _pass_on(self) -> int:
        """Read into the shared buffer and write to the peer; hold what the peer does not accept. Return bytes read."""
        shared = self.shared
        received = self.sock.recv_into(shared.buffer)
        self.bulk = received >= BULK
        if received < BUFFER:  # a short read: the socket is empty, unless until_eagain is set
            if not self.until_eagain:
                self.readable = False
            if received == 0:
                return 0
        try:
            sent = self.peer.sock.send(shared.view[:received])
        except BlockingIOError:
            sent = 0
        except OSError:
            self._write_failed()
            return received
        self.moved += sent
        if sent < received:
            self.backlog = bytes(shared.view[sent:received])
            self.held = True
            self.peer.writable = False
        return received

    def _splice(self) -> int:
        """Read into a pipe without a copy, and hold the bytes there. Return the bytes read."""
        if self.pipe is None:
            if not self.bounded:
                self.bound_buffer()
            self.pipe = self.shared.pipes.get()
            if self.pipe is None:
                return self._pass_on()
        try:
            received = os.splice(self.sock.fileno(), self.pipe.write, self.pipe.size, flags=SPLICE)
        except BlockingIOError:
            if not self.until_eagain:
                raise
            received = 0
        if received == 0:  # end of file, or urgent data, which splice never passes
            self._return_pipe(self.pipe)
            return self._pass_on()
        self.piped = received
        self.held = True
        self.bulk = received >= BULK // 2
        self.streak = self.streak + received if self.bulk else 0
        if self.streak >= SUSTAINED:
            self.relay.loop.gather(self)
        return received

    def _write_held(self) -> bool:
        """Write the held bytes. Return True if none are left."""
        try:
            if self.backlog:
                sent = self.peer.sock.send(self.backlog)
                self.moved += sent
                self.backlog = self.backlog[sent:]
                if self.backlog:
                    self.peer.writable = False
                    return False
            while self.pipe is not None and self.piped:
                sent = os.splice(self.pipe.read, self.peer.sock.fileno(), self.piped, flags=SPLICE)
                self.moved += sent
                self.piped -= sent
        except BlockingIOError:
            self.peer.writable = False
            return False
        except OSError:
            self._write_failed()
            return False
        self.held = False
        if self.pipe is not None and not (self.readable and self.bulk):
            self._return_pipe(self.pipe)
        return True

    def hold_first(self, data: bytes, unsent: bytes) -> None:
        """Move these bytes first, after what is unsent. Call it before the start."""
        self.backlog = unsent + data
        self.moved -= len(unsent)
        self.held = True

    def bound_buffer(self) -> None:
        """Bound what the kernel receives of a server's stream before it is read."""
        self.bounded = True
        if self.name == "server":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MOST_UNREAD)

    def _write_failed(self) -> None:
        """The peer is gone, but data that it sent earlier may still be unread: reads from it decide the end."""
        self.cut = self.done = True
        self.forget()
        peer = self.peer
        if peer.cut:
            self.relay.side_reset(self)  # this side was gone first
        elif peer.ended:
            self.relay.side_reset(peer)
        else:
            peer.readable = True
            peer.until_eagain = True
            peer.pump()

    def read_failed(self, error: OSError) -> None:  # noqa: ARG002 - TLS looks at it
        self.relay.side_reset(self)

    def _read_end(self) -> None:
        self.readable = False
        self.ended = self.done = True
        if self.pipe is not None:
            self._return_pipe(self.pipe)
        if self.peer.cut:
            self.relay.side_reset(self)
        else:
            self.relay.side_ended(self)

    def shut_down(self) -> None:
        """Forward the peer's end of file to this side."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the connection was reset meanwhile; the next read reports it
            self.readable = True
            self.until_eagain = True
            self.continue_later()

    def send_closing_message(self) -> None:
        """Send what an orderly close needs before a FIN: nothing for plain TCP."""

    def continue_later(self) -> None:
        """Move bytes when the turn has budget for it."""
        if not self.queued:
            self.queued = True
            self.relay.loop.queue(self)

    def _return_pipe(self, pipe: Pipe) -> None:
        self.shared.pipes.put(pipe, empty=not self.piped)
        self.pipe = None

    def wake_at(self, count: int) -> None:
        """Request the next edge when ``count`` bytes or the end can be read. Bytes already buffered count."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def close(self) -> None:
        """Close the socket. References back to this side are dropped, so no cycle is left to the garbage collector."""
        self.closed = self.done = True
        if self.held or self.pipe is not None:
            self.forget()
        self.relay.loop.close(self.sock)
        del self.peer, self.relay

    def forget(self) -> None:
        """Drop the held bytes."""
        if self.pipe is not None:
            self._return_pipe(self.pipe)
        self.held = False
        self.piped = 0
        self.backlog = b""


class EpollRelay:
    """Implements :class:`lb.relay.splicer.Relay`. ``ready`` holds the epoll masks of earlier edges of both sockets."""

    __slots__ = ("_first", "_since", "client", "half_close", "last_activity", "loop", "owner", "queue", "server")
    side_type: ClassVar[type[Side]] = Side

    def __init__(
        self,
        loop: EpollLoop,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        half_close: DeadlineQueue,
        ready: tuple[int, int],
    ) -> None:
        self.loop = loop
        self.owner = owner
        self.half_close = half_close
        self.client = self.side_type("client", self, client, ready[0])
        self.server = self.side_type("server", self, server, ready[1])
        self.client.peer = self.server
        self.server.peer = self.client
        self._first: Side | None = None

    @property
    def bytes_in(self) -> int:
        return self.client.moved

    @property
    def bytes_out(self) -> int:
        return self.server.moved

    @property
    def holds_bytes(self) -> bool:
        """True if bytes were read from one side that the other has not accepted yet."""
        return self.client.held or self.server.held

    def enter(self, queue: DeadlineQueue) -> None:
        """Enter this deadline queue."""
        self.queue = queue
        self.last_activity = self._since = self.loop.turn.now
        queue.enter(self, self._since)

    def start(self) -> None:
        """Start the sides that have bytes to move and get no edge for them."""
        for side in (self.client, self.server):
            if side.readable:
                side.continue_later()

    def begin_with(self, from_client: bytes, from_server: bytes, unsent: bytes) -> None:
        """Move these bytes before all others: they were read already. Call it right after the relay was made.

        ``unsent`` is what the client's socket has not accepted yet, encrypted if it has TLS; it does not count.
        """
        for side, data, before in ((self.client, from_client, b""), (self.server, from_server, unsent)):
            if data or before:
                side.hold_first(data, before)
                side.continue_later()

    def expired(self, queue: DeadlineQueue) -> None:
        """The deadline passed, counted from the last activity known to the queue."""
        if self.last_activity > self._since:
            self._since = self.last_activity
            queue.renew(self, self._since)
        else:
            reset = self.holds_bytes
            if not reset:
                self.client.send_closing_message()
                self.server.send_closing_message()
            self.close(reset=reset)
            self.owner.relay_ended("lb", TIMEOUTS[queue.kind])

    def side_ended(self, side: Side) -> None:
        """``side`` has sent its end of file, and all its bytes have been forwarded."""
        if self._first is None:
            self._first = side
            self.queue.discard(self)
            self.enter(self.half_close)
            side.peer.shut_down()
        else:
            self.end(self._first.name, "eof")

    def side_reset(self, side: Side) -> None:
        """``side`` was reset: reset its peer too."""
        end_with_reset(side.peer.sock)
        self.end(side.name, "reset")

    def failed(self) -> None:
        """End after a bug: a truncated stream must not look complete."""
        self.close(reset=True)
        self.owner.relay_ended("lb", "reset")

    def end(self, ended_by: EndedBy, reason: Reason) -> None:
        """Close both sockets and tell the owner."""
        self.close(reset=False)
        self.owner.relay_ended(ended_by, reason)

    def close(self, *, reset: bool) -> None:
        self.queue.discard(self)
        if reset:
            end_with_reset(self.client.sock)
            end_with_reset(self.server.sock)
        self.client.close()
        self.server.close()


class _FirstByteSide(Side):
    """A side of a timed relay before its first byte."""

    __slots__ = ()

    def _pass_on(self) -> int:
        relay = self.relay  # the next call deletes the attribute if it closes the relay
        received = super()._pass_on()
        if received and isinstance(relay, TimedRelay):
            relay.first_byte_read(self)
        return received


class TimedRelay(EpollRelay):
    """A relay that records the time to the server's first byte in ``first_byte``.

    The time counts from the client's first byte, if that came earlier, else from the start. Each side has a costlier
    read method until its first byte. Changing the class of the side costs other relays and later reads nothing.
    """

    __slots__ = ("_first_byte", "_waiting_since")
    side_type: ClassVar[type[Side]] = _FirstByteSide
    untimed_side_type: ClassVar[type[Side]] = Side

    def __init__(
        self,
        loop: EpollLoop,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        half_close: DeadlineQueue,
        ready: tuple[int, int],
        first_byte: Histogram,
    ) -> None:
        super().__init__(loop, client, server, owner, half_close, ready)
        self._first_byte = first_byte
        self._waiting_since = loop.turn.now

    def first_byte_read(self, side: Side) -> None:
        """The first byte of ``side`` was read."""
        side.__class__ = self.untimed_side_type
        now = self.loop.turn.now
        if side is self.server:
            self._first_byte.add(now - self._waiting_since)
            self.client.__class__ = self.untimed_side_type
        else:
            self._waiting_since = now
