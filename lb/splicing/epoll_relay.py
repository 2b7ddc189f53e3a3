"""Two sockets joined on the fast splicer: the pair, its one deadline, and its end. The bytes are a Side's business."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from lb.events import EndedBy, Reason
from lb.splicing.deadlines import DeadlineQueue
from lb.splicing.epoll_side import BUFFER, Side
from lb.splicing.pipes import PipePool
from lb.splicing.splicer import TIMEOUTS, RelayOwner, end_with_reset
from lb.timing import Spread

if TYPE_CHECKING:
    from lb.splicing.epoll_splicer import EpollSplicer

__all__ = ["EpollRelay", "RelayContext", "TimedRelay"]


class RelayContext:
    """What all relays share: the receive buffer, the pipes, and what belongs to the splicer's present turn.

    ``now`` is its time (seconds, trio's clock), ``budget`` the bytes that may still be moved in it.
    """

    def __init__(self, pipes: PipePool) -> None:
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        self.pipes = pipes
        self.now = 0.0
        self.budget = 0


class EpollRelay:
    """Implements :class:`lb.splicing.splicer.Relay`. ``seen`` is what the server's edge said when it connected."""

    __slots__ = ("_first", "_since", "client", "half_close", "last_sign", "owner", "queue", "server", "splicer")

    def __init__(
        self,
        splicer: EpollSplicer,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        half_close: DeadlineQueue,
        seen: int,
    ) -> None:
        self.splicer = splicer
        self.owner = owner
        self.half_close = half_close
        self.client = Side("client", self, client, 0)
        self.server = Side("server", self, server, seen)
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
        """True if bytes were read from one side that the other has not taken yet."""
        return self.client.held or self.server.held

    def enter(self, queue: DeadlineQueue) -> None:
        """Wait in this queue from now on."""
        self.queue = queue
        self.last_sign = self._since = self.splicer.relays.now
        queue.enter(self, self._since)

    def expired(self, queue: DeadlineQueue) -> None:
        """Due, as of the last sign of life that the queue knew of."""
        if self.last_sign > self._since:
            self._since = self.last_sign
            queue.renew(self, self._since)
        else:
            self.close(reset=self.holds_bytes)
            self.owner.relay_ended("lb", TIMEOUTS[queue.kind])

    def side_ended(self, side: Side) -> None:
        """``side`` has sent its last byte, and all of them have been passed on."""
        if self._first is None:
            self._first = side
            self.queue.discard(self)
            self.enter(self.half_close)
            side.peer.shut_down()
        else:
            self._end(self._first.name, "eof")

    def side_reset(self, side: Side) -> None:
        """``side`` is gone without an orderly end: pass that on."""
        end_with_reset(side.peer.sock)
        self._end(side.name, "reset")

    def failed(self) -> None:
        """A bug was met: nothing cut short may look complete."""
        self.close(reset=True)
        self.owner.relay_ended("lb", "reset")

    def _end(self, ended_by: EndedBy, reason: Reason) -> None:
        self.close(reset=False)
        self.owner.relay_ended(ended_by, reason)

    def close(self, *, reset: bool) -> None:
        self.queue.discard(self)
        if reset:
            end_with_reset(self.client.sock)
            end_with_reset(self.server.sock)
        self.client.close()
        self.server.close()


class TimedRelay(EpollRelay):
    """Tells ``first_byte`` how long the server took to its first one: since the client's first, if that came before.

    Each of its sides has a dearer method until it has spoken. To change the class of an object costs other relays
    nothing, and this one's later reads neither.
    """

    __slots__ = ("_first_byte", "_waiting_since")

    def __init__(
        self,
        splicer: EpollSplicer,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        half_close: DeadlineQueue,
        seen: int,
        first_byte: Spread,
    ) -> None:
        super().__init__(splicer, client, server, owner, half_close, seen)
        self._first_byte = first_byte
        self._waiting_since = splicer.relays.now
        self.client.__class__ = self.server.__class__ = _SilentSide

    def has_spoken(self, side: Side) -> None:
        """For the first time."""
        side.__class__ = Side
        now = self.splicer.relays.now
        if side is self.server:
            self._first_byte.add(now - self._waiting_since)
            self.client.__class__ = Side
        else:
            self._waiting_since = now


class _SilentSide(Side):
    """A side of a timed relay that has not spoken yet."""

    __slots__ = ()

    def _pass_on(self) -> int:
        relay = self.relay  # which is let go if that closes it
        received = super()._pass_on()
        if received and isinstance(relay, TimedRelay):
            relay.has_spoken(self)
        return received
