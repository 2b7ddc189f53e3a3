"""The fast splicer: one edge-triggered epoll, driven in batches by one trio task.

Theory of operation. Every socket is registered once, for both directions, edge-triggered (epoll(7)). An edge says "this
has become ready"; we remember that in ``readable``/``writable`` until the kernel says otherwise (EAGAIN, or a read or
write shorter than asked for, which on a stream means the same). So a socket costs one epoll_ctl in its life, and
readiness is never asked for. Each turn of :meth:`EpollSplicer.run` handles a batch of edges by plain function calls,
then the work left over by those that had used up their share, and returns to trio's scheduler.

Sockets are of the C type ``socket.SocketType``: the Python class around it adds nothing that is used here, and costs
3 µs a connection.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from collections import deque
from collections.abc import Callable
from typing import NoReturn

import trio

from lb.address import SocketAddress
from lb.splicing.deadlines import DeadlineQueue
from lb.splicing.epoll_acceptor import EpollAcceptor
from lb.splicing.epoll_connecting import EpollConnecting
from lb.splicing.epoll_handler import Handler, Ignore
from lb.splicing.epoll_relay import EpollRelay, RelayContext, TimedRelay
from lb.splicing.epoll_side import Side
from lb.splicing.splicer import EXHAUSTED_PAUSE, ConnectingOwner, RelayOwner
from lb.splicing.trio_relay import TrioRelay
from lb.timing import Spread
from lb.tls.layer import Layer

assert sys.platform == "linux"  # noqa: S101 - tells mypy too

__all__ = ["EpollSplicer"]

EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
BATCH = 256
"""Edges taken at once. A guess: large enough that the poll's cost is shared, small enough that trio gets its turn."""
STAY = 0.005
"""Seconds of handling batches before trio's other tasks get their turn."""
TURN = 1024 * 1024
"""Bytes of bulk moved in one turn, by all connections together: some 0.3 ms, which everybody else waits."""
LINGER = 0.001
"""Seconds that a process which does nothing else waits for the next batch before it goes back to trio's scheduler.

The way through the scheduler and back costs twice what passing on a small message does (7 µs and 3 µs were measured);
under load the next edge comes sooner.
Trio's other tasks (checks, look-ups, signals) are late by so much at most. epoll_wait(2) counts in milliseconds.
"""

GATHER = 512 * 1024
"""Bytes that a side in sustained bulk waits for; half a pipe."""
GATHER_TIME = 0.001
"""Seconds that it waits for them."""
MOST_GATHERING = 8
"""Sides that may do so at one time. With many streams, much has come by the time it is each one's turn."""


class EpollSplicer:
    """Implements :class:`lb.splicing.splicer.Splicer`. ``fault`` hears of bugs, which end one connection only.

    ``dedicated`` says that the process has little else to do: see LINGER.
    """

    def __init__(self, *, relays: RelayContext, fault: Callable[[str, Exception], None], dedicated: bool) -> None:
        self._clock = trio.lowlevel.current_clock().current_time
        self._linger = LINGER if dedicated else 0
        self._epoll = select.epoll()
        self._bridge = select.epoll()
        """Stands between our epoll and trio's, and watches ours only while we wait.

        It holds ours always: to put an epoll into another costs a look at each socket in it.
        """
        self._handlers: dict[int, Handler] = {}
        self._again: deque[Handler] = deque()
        self._queue: deque[Side] = deque()
        """The sides with more to move than their turn allowed, oldest first."""
        self._closing: list[socket.SocketType] = []
        self._gathering: dict[Side, float] = {}
        """The sides that wait until GATHER bytes have come, with the time of their last read."""
        self.batches = self.edges = 0
        self._in_batch = False
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wakeup, select.EPOLLIN | select.EPOLLET)
        self._bridge.register(self._epoll, 0)
        self._handlers[self._wakeup] = Ignore()
        self.fault = fault
        self._nursery: trio.Nursery
        self.relays = relays

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await self._take_turns()
        finally:
            self._epoll.close()
            self._bridge.close()
            os.close(self._wakeup)

    async def _take_turns(self) -> NoReturn:
        while True:
            if self._again or self._queue or self._gathering:
                await trio.lowlevel.checkpoint()
            else:
                self._bridge.modify(self._epoll, select.EPOLLIN)
                await trio.lowlevel.wait_readable(self._bridge)
                self._bridge.modify(self._epoll, 0)
            stay_until = self._clock() + STAY
            while self._turn() and self.relays.now < stay_until:
                pass

    def _turn(self) -> bool:
        """Handle one batch; False if there was nothing to do."""
        edges = self._epoll.poll(0 if self._again or self._queue else self._linger, BATCH)
        if not (edges or self._again or self._queue or self._gathering):
            return False
        self.batches += 1
        self.edges += len(edges)
        relays = self.relays
        relays.now = self._clock()
        relays.budget = 0 if self._queue else TURN  # who waits goes before bulk that an edge brings
        waiting = bool(self._queue)
        self._in_batch = True
        handlers = self._handlers
        for fd, mask in edges:
            handler = handlers.get(fd)  # None: closed by an edge before it in this batch
            if handler is not None:
                try:
                    handler.edge(mask)
                except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
                    self._contain(handler, exception)
        if self._closing:
            self._close_what_ended()
        if self._again or self._queue:
            if waiting:
                relays.budget = TURN
            self._go_on()
        self._in_batch = False
        if self._gathering:
            self._stop_gathering()
        return True

    def _go_on(self) -> None:
        """What was asked for later; then bulk, oldest first, as far as the budget goes."""
        for _ in range(len(self._again)):
            self._call_again(self._again.popleft())
        while self._queue and self.relays.budget > 0:
            self._call_again(self._queue.popleft())
        self._close_what_ended()

    def gather(self, side: Side) -> None:
        """For a side in sustained bulk, which has just read: its next edge is to come once GATHER bytes have.

        A stream in large pieces costs a third less than in small ones, as each piece wakes us, and whoever reads what
        we write. One that does not bring so much in GATHER_TIME gets its edges as before, so no byte waits longer.
        """
        if side not in self._gathering:
            if not self._linger or len(self._gathering) >= MOST_GATHERING:
                return
            side.wake_at(GATHER)
        self._gathering[side] = self.relays.now

    def _stop_gathering(self) -> None:
        for side, last_read in list(self._gathering.items()):
            if self.relays.now - last_read >= GATHER_TIME:
                del self._gathering[side]
                side.streak = 0
                if not side.closed:
                    side.wake_at(1)

    def _close_what_ended(self) -> None:
        for sock in self._closing:
            sock.close()
        self._closing.clear()

    def _call_again(self, handler: Handler) -> None:
        try:
            handler.again()
        except Exception as exception:  # noqa: BLE001 - the same
            self._contain(handler, exception)

    def _contain(self, handler: Handler, exception: Exception) -> None:
        self.fault("splicer", exception)
        try:
            handler.failed(exception)
        except Exception as second:  # noqa: BLE001 - the same
            self.fault("splicer", second)

    def later(self, handler: Handler) -> None:
        """Call ``handler.again()`` once this turn's edges have been handled, or what they closed would still count."""
        self._again.append(handler)
        if not self._in_batch:
            os.eventfd_write(self._wakeup, 1)

    def queue(self, side: Side) -> None:
        """Call ``side.again()`` when those before it have had their turn."""
        self._queue.append(side)
        if not self._in_batch:
            os.eventfd_write(self._wakeup, 1)

    def watch(self, fd: int, handler: Handler, edges: int = EDGES) -> None:
        """Send the edges of a new descriptor to ``handler``; what is ready already counts as an edge."""
        self._epoll.register(fd, edges)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor that goes on living elsewhere."""
        del self._handlers[fd]
        self._epoll.unregister(fd)

    def close(self, sock: socket.SocketType) -> None:
        """Close a watched socket.

        Within a batch, only after its edges: the kernel hands the number of a closed descriptor out again at once, and
        an edge of the old socket later in the batch would reach the new one.
        """
        self._handlers.pop(sock.fileno(), None)
        if self._in_batch:
            self._closing.append(sock)
        else:
            sock.close()

    def listen(
        self,
        listening: socket.socket,
        *,
        may_accept: Callable[[], bool],
        accepted: Callable[[socket.SocketType, object], None],
        exhausted: Callable[[OSError], None],
    ) -> EpollAcceptor:
        acceptor = EpollAcceptor(self, listening, may_accept, accepted, exhausted)
        acceptor.watch()
        return acceptor

    def connect(self, address: SocketAddress, owner: ConnectingOwner) -> EpollConnecting:
        family, target = address
        sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        error = sock.connect_ex(target)  # type: ignore[arg-type]
        if error not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(error, os.strerror(error))
        connecting = EpollConnecting(self, sock, target, owner)
        self.watch(sock.fileno(), connecting)
        return connecting

    def relay(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        first_byte: Spread | None,
    ) -> EpollRelay:
        connecting = self._handlers[server.fileno()]
        assert isinstance(connecting, EpollConnecting)  # noqa: S101 - servers come from connect()
        if first_byte is None:
            relay = EpollRelay(self, client, server, owner, half_close, connecting.seen)
        else:
            relay = TimedRelay(self, client, server, owner, half_close, connecting.seen, first_byte)
        self.watch(client.fileno(), relay.client)
        self._handlers[server.fileno()] = relay.server
        relay.enter(idle)
        return relay

    def release(self, server: socket.SocketType) -> None:
        if server.fileno() in self._handlers:
            self.unwatch(server.fileno())

    def relay_layered(
        self,
        client: socket.SocketType,
        server: socket.SocketType,
        owner: RelayOwner,
        *,
        layers: tuple[Layer, Layer],
        idle: DeadlineQueue,
        half_close: DeadlineQueue,
        first_byte: Spread | None,
    ) -> TrioRelay:
        self.release(server)
        relay = TrioRelay(client, server, owner, layers, idle, half_close, self.fault, first_byte)
        self._nursery.start_soon(relay.run)
        return relay

    async def _resume_after_pause(self, acceptor: EpollAcceptor) -> None:
        await trio.sleep(EXHAUSTED_PAUSE)
        acceptor.resume()

    def pause(self, acceptor: EpollAcceptor) -> None:
        """Let this acceptor try again in a while."""
        self._nursery.start_soon(self._resume_after_pause, acceptor)
