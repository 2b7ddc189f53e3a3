"""Two sockets joined on the fast splicer: what happens between the edges of readiness and the bytes.

Each :class:`Side` moves the bytes that come from its own socket to its peer's. The rules:

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

from lb.deadlines import DeadlineQueue
from lb.events import EndedBy, Reason
from lb.pipes import Pipe, PipePool
from lb.splicer import RelayOwner, end_with_reset

if TYPE_CHECKING:
    from lb.epoll_splicer import EpollSplicer

__all__ = ["EpollRelay", "RelayContext", "Side"]

BUFFER = 64 * 1024
"""Bytes of the one receive buffer that all connections share."""
SHARE = 1024 * 1024
"""Bytes one side may move before others get their turn."""
BULK_READS = 2
"""Full buffers in a row after which a side changes to splice."""
SPLICE = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
ENDING = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class RelayContext:
    """What all relays share: the receive buffer, the pipes, and the time of the batch (seconds, trio's clock)."""

    def __init__(self, pipes: PipePool) -> None:
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        self.pipes = pipes
        self.now = 0.0


class EpollRelay:
    """Implements :class:`lb.splicer.Relay`."""

    __slots__ = ("_first", "client", "closed", "half_close", "owner", "queue", "server", "splicer")

    def __init__(
        self,
        splicer: EpollSplicer,
        client: socket.socket,
        server: socket.socket,
        owner: RelayOwner,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
    ) -> None:
        self.splicer = splicer
        self.owner = owner
        self.queue = idle
        self.half_close = half_close
        self.client = Side("client", self, client)
        self.server = Side("server", self, server)
        self.client.peer = self.server
        self.server.peer = self.client
        self.closed = False
        self._first: Side | None = None
        self.touch()

    @property
    def bytes_in(self) -> int:
        return self.client.moved

    @property
    def bytes_out(self) -> int:
        return self.server.moved

    @property
    def holds_bytes(self) -> bool:
        return self.client.holds or self.server.holds

    def touch(self) -> None:
        """Note a sign of life."""
        self.queue.touch(self.owner, self.splicer.relays.now)

    def side_ended(self, side: Side) -> None:
        """``side`` has sent its last byte, and all of them have been passed on."""
        if self._first is None:
            self._first = side
            self.queue.discard(self.owner)
            self.queue = self.half_close
            self.touch()
            side.peer.shut_down()
        else:
            self._end(self._first.name, "eof")

    def side_reset(self, side: Side) -> None:
        """``side`` is gone without an orderly end: pass that on."""
        end_with_reset(side.peer.sock)
        self._end(side.name, "reset")

    def _end(self, ended_by: EndedBy, reason: Reason) -> None:
        self.close(reset=False)
        self.owner.relay_ended(ended_by, reason)

    def close(self, *, reset: bool) -> None:
        self.closed = True
        self.queue.discard(self.owner)
        for side in (self.client, self.server):
            if reset:
                end_with_reset(side.sock)
            side.forget()
            self.splicer.close(side.sock)


class Side:
    """One socket of a relay, and the bytes on their way from it to its peer."""

    __slots__ = (
        "backlog",
        "cut",
        "ended",
        "ending",
        "full_reads",
        "moved",
        "name",
        "peer",
        "pipe",
        "piped",
        "queued",
        "readable",
        "relay",
        "sock",
        "writable",
    )
    peer: Side

    def __init__(self, name: EndedBy, relay: EpollRelay, sock: socket.socket) -> None:
        self.name: EndedBy = name
        self.relay = relay
        self.sock = sock
        self.readable = False
        self.writable = True
        self.ending = False
        """The kernel has announced the end: reads go on until they say so."""
        self.ended = False
        """End of file was read."""
        self.cut = False
        """The peer takes no more of this side's bytes."""
        self.queued = False
        """Waits in the splicer for its next turn."""
        self.backlog: bytes | None = None
        self.pipe: Pipe | None = None
        self.piped = 0
        self.full_reads = 0
        self.moved = 0

    @property
    def holds(self) -> bool:
        """Bytes were read that the peer has not taken."""
        return self.backlog is not None or self.piped > 0

    def note(self, mask: int) -> None:
        """Remember what an edge said."""
        if mask & READABLE:
            self.readable = True
            if mask & ENDING:
                self.ending = True
        if mask & select.EPOLLOUT:
            self.writable = True

    def edge(self, mask: int) -> None:
        relay = self.relay
        relay.touch()
        self.note(mask)
        if self.readable:
            self.pump()
        peer = self.peer
        if (peer.readable or peer.holds) and not relay.closed:
            peer.pump()

    def again(self) -> None:
        """The next turn, after one that used up its share."""
        self.queued = False
        if not self.relay.closed:
            self.relay.touch()
            self.pump()

    def failed(self, exception: Exception) -> None:  # noqa: ARG002 - reported by the splicer
        if not self.relay.closed:
            self.relay.side_reset(self)

    def pump(self) -> None:
        """Move bytes to the peer until this side has none, the peer takes none, or the turn's share is used up."""
        share = SHARE
        while self.peer.writable:
            if (self.backlog is not None or self.piped) and not self._write_held():
                return
            if not self.readable or self.cut or self.ended:
                return
            if share <= 0:
                self._queue()
                return
            try:
                received = self._read()
            except BlockingIOError:
                self.readable = False
                self._give_pipe_back()
                return
            except OSError:
                self.relay.side_reset(self)
                return
            if received == 0:
                self._read_end()
                return
            share -= received

    def _read(self) -> int:
        """Read once, and write what a buffer took. What a pipe took, and what the peer did not take, is held."""
        if self.full_reads >= BULK_READS and self._borrow_pipe():
            assert self.pipe is not None  # noqa: S101 - for mypy
            self.piped = received = os.splice(self.sock.fileno(), self.pipe.write, self.pipe.size, flags=SPLICE)
            if received < BUFFER // 4:
                self.full_reads = 0
            return received
        if self.pipe is not None:
            self._give_pipe_back()
        shared = self.relay.splicer.relays
        received = self.sock.recv_into(shared.buffer)
        if received < BUFFER:
            self.full_reads = 0
            if not self.ending:
                self.readable = False
            if received == 0:
                return 0
        else:
            self.full_reads += 1
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
            self.peer.writable = False
        return received

    def _write_held(self) -> bool:
        """Write the held bytes; True if none are left."""
        try:
            if self.backlog is not None:
                sent = self.peer.sock.send(self.backlog)
                self.moved += sent
                if sent < len(self.backlog):
                    self.backlog = self.backlog[sent:]
                    self.peer.writable = False
                    return False
                self.backlog = None
            while self.piped:
                assert self.pipe is not None  # noqa: S101 - for mypy
                sent = os.splice(self.pipe.read, self.peer.sock.fileno(), self.piped, flags=SPLICE)
                self.moved += sent
                self.piped -= sent
        except BlockingIOError:
            self.peer.writable = False
            return False
        except OSError:
            self._write_failed()
            return False
        if not self.readable:
            self._give_pipe_back()
        return True

    def _write_failed(self) -> None:
        """The peer is gone, but what it sent before may still be unread: its reads decide."""
        self.cut = True
        self.forget()
        peer = self.peer
        if peer.ended:
            self.relay.side_reset(peer)
        else:
            peer.readable = peer.ending = True
            peer.pump()

    def _read_end(self) -> None:
        self.readable = False
        self.ended = True
        self._give_pipe_back()
        if self.peer.cut:
            self.relay.side_reset(self)
        else:
            self.relay.side_ended(self)

    def shut_down(self) -> None:
        """Pass the peer's end on to this side."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it has reset the connection meanwhile, which its next read says
            self.readable = self.ending = True
            self._queue()

    def _queue(self) -> None:
        if not self.queued:
            self.queued = True
            self.relay.splicer.later(self)

    def _borrow_pipe(self) -> bool:
        if self.pipe is None:
            self.pipe = self.relay.splicer.relays.pipes.get()
        return self.pipe is not None

    def _give_pipe_back(self) -> None:
        if self.pipe is not None:
            self.relay.splicer.relays.pipes.put(self.pipe, empty=not self.piped)
            self.pipe = None

    def forget(self) -> None:
        """Drop the bytes held."""
        self._give_pipe_back()
        self.piped = 0
        self.backlog = None
