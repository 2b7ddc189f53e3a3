"""One socket of a relay on the fast splicer: what happens between the edges of readiness and the bytes.

A :class:`Side` moves the bytes that come from its own socket to its peer's. The rules:

- Bytes that were read are written before more is read, so a side holds at most one buffer or one pipe of them.
- A direction ends with its reader's end of file: SHUT_WR to the peer, after the last byte. Both ended: both closed.
- A failed read is a reset, and travels as one. A failed write only ends that direction: what the failing side had sent
  before may still be unread, so its own reads decide, and end in a reset when they end.
"""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING

from lb.events import EndedBy
from lb.splicing.pipes import Pipe

if TYPE_CHECKING:
    from lb.splicing.epoll_relay import EpollRelay

__all__ = ["BUFFER", "Side"]

BUFFER = 128 * 1024
"""Bytes of the one receive buffer that all connections share.

Twice what a common answer has: with 64 KiB, an answer of that size and its head took two reads and two writes.
"""
BULK = 32 * 1024
"""Bytes in one read from which the next one goes by splice: it costs more calls, and no copy."""
SUSTAINED = 4 * 1024 * 1024
"""Bytes by splice in a row after which a side may wait until more than a little has come; see EpollSplicer.gather."""
SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
INSIST = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
READABLE = select.EPOLLIN | INSIST
WRITABLE = select.EPOLLOUT


class Side:
    """One socket of a relay, and the bytes on their way from it to its peer."""

    __slots__ = (
        "backlog",
        "bulk",
        "closed",
        "cut",
        "done",
        "ended",
        "held",
        "insist",
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
        "writable",
    )
    peer: Side

    def __init__(self, name: EndedBy, relay: EpollRelay, sock: socket.SocketType, seen: int) -> None:
        self.name: EndedBy = name
        self.relay = relay
        self.shared = relay.splicer.relays
        self.sock = sock
        self.readable = seen & READABLE != 0
        self.writable = True
        self.insist = seen & INSIST != 0
        """A short read is not the last: the end was announced, or urgent data, at which each read stops."""
        self.ended = False
        """The end of file was reached, and passed on."""
        self.cut = False
        """The peer takes no more of this side's bytes."""
        self.done = False
        """One of the two: it moves no more bytes."""
        self.closed = False
        self.queued = False
        """Waits in the splicer for its next turn."""
        self.held = False
        """Bytes were read that the peer has not taken: ``backlog``, or ``piped`` of them in ``pipe``."""
        self.backlog = b""
        self.pipe: Pipe | None = None
        self.piped = 0
        self.bulk = False
        """The last read was large: splice pays."""
        self.streak = 0
        """Bytes that came by splice, in a row."""
        self.moved = 0

    def edge(self, mask: int) -> None:
        """The socket has become ready for something."""
        self.relay.last_sign = self.shared.now
        peer = self.peer
        if mask & WRITABLE:
            self.writable = True
        if mask & READABLE:
            self.readable = True
            if mask & INSIST:
                self.insist = True
            if not self.queued:
                self.pump()
        if (peer.held or peer.readable) and not self.closed and not peer.queued:
            peer.pump()

    def again(self) -> None:
        """Its turn has come, after others used up what one may move."""
        self.queued = False
        if not self.closed:
            self.relay.last_sign = self.shared.now
            self.pump()

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the splicer
        if not self.closed:
            self.relay.failed()

    def pump(self) -> None:
        """Move bytes to the peer until this side has none, the peer takes none, or the turn's budget is used up.

        Only bulk has to wait for that: small messages go first, in order to be quick.
        """
        peer = self.peer
        shared = self.shared
        moved = 0
        while (self.readable or self.held) and peer.writable and not self.done:
            if self.held:
                if self._write_held():
                    continue
                return
            if shared.budget <= 0 and (self.bulk or moved >= BUFFER):
                self._queue()
                return
            try:
                received = self._splice() if self.bulk else self._pass_on()
            except BlockingIOError:
                self.readable = False
                if self.pipe is not None:
                    self._give_pipe_back(self.pipe)
                return
            except OSError:
                self.relay.side_reset(self)
                return
            if received == 0:
                self._read_end()
            moved += received
            shared.budget -= received

    def _pass_on(self) -> int:
        """Read into the shared buffer and write that; what the peer does not take is held. Returns the bytes read."""
        shared = self.shared
        received = self.sock.recv_into(shared.buffer)
        self.bulk = received >= BULK
        if received < BUFFER:  # nothing is left, then, unless there is reason to insist
            if not self.insist:
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
        """Read into a pipe, without a copy; it is held there. Returns the bytes read."""
        if self.pipe is None:
            self.pipe = self.shared.pipes.get()
            if self.pipe is None:
                return self._pass_on()
        try:
            received = os.splice(self.sock.fileno(), self.pipe.write, self.pipe.size, flags=SPLICE)
        except BlockingIOError:
            if not self.insist:
                raise
            received = 0
        if received == 0:  # it has ended, or urgent data is next, which splice never passes
            self._give_pipe_back(self.pipe)
            return self._pass_on()
        self.piped = received
        self.held = True
        self.bulk = received >= BULK // 2
        self.streak = self.streak + received if self.bulk else 0
        if self.streak >= SUSTAINED:
            self.relay.splicer.gather(self)
        return received

    def _write_held(self) -> bool:
        """Write the held bytes; True if none are left."""
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
            self._give_pipe_back(self.pipe)
        return True

    def _write_failed(self) -> None:
        """The peer is gone, but what it sent before may still be unread: its reads decide."""
        self.cut = self.done = True
        self.forget()
        peer = self.peer
        if peer.cut:
            self.relay.side_reset(self)  # which was gone before
        elif peer.ended:
            self.relay.side_reset(peer)
        else:
            peer.readable = True
            peer.insist = True
            peer.pump()

    def _read_end(self) -> None:
        self.readable = False
        self.ended = self.done = True
        if self.pipe is not None:
            self._give_pipe_back(self.pipe)
        if self.peer.cut:
            self.relay.side_reset(self)
        else:
            self.relay.side_ended(self)

    def shut_down(self) -> None:
        """Pass the peer's end on to this side."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it has reset the connection meanwhile, which its next read says
            self.readable = True
            self.insist = True
            self._queue()

    def _queue(self) -> None:
        if not self.queued:
            self.queued = True
            self.relay.splicer.queue(self)

    def _give_pipe_back(self, pipe: Pipe) -> None:
        self.shared.pipes.put(pipe, empty=not self.piped)
        self.pipe = None

    def wake_at(self, count: int) -> None:
        """Ask the kernel for an edge once so many bytes can be read, or the end; those that wait already count."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def close(self) -> None:
        """Close the socket. Whatever leads back here is let go, so that no cycle is left to the garbage collector."""
        self.closed = self.done = True
        if self.held or self.pipe is not None:
            self.forget()
        self.relay.splicer.close(self.sock)
        del self.peer, self.relay

    def forget(self) -> None:
        """Drop the bytes held."""
        if self.pipe is not None:
            self._give_pipe_back(self.pipe)
        self.held = False
        self.piped = 0
        self.backlog = b""
