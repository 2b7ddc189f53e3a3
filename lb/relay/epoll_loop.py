"""The event loop of the fast splicer: one edge-triggered epoll, driven in batches by one trio task.

Every descriptor is registered once, for both directions, edge-triggered (epoll(7)). An edge means "became ready". The
handler stores that state until the kernel returns EAGAIN, or a read or write shorter than requested, which means the
same on a stream. So a socket costs one epoll_ctl in its lifetime, and the loop never polls for readiness. Each turn of
:meth:`EpollLoop.run` handles a batch of edges with plain function calls, then the deferred work of handlers that used
up their budget, and returns to trio's scheduler.

The loop knows only handlers. Accepting, connecting and relaying are built on top of it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol

import trio

from lb.relay.pipes import PipePool
from lb.relay.splicer import EXHAUSTED_PAUSE
from lb.tls.layer import RECORD

assert sys.platform == "linux"  # noqa: S101 - mypy reads it too

__all__ = ["BUFFER", "TURN_BYTES", "BulkHandler", "EpollLoop", "Handler", "Pausable", "TurnState"]

BUFFER = 128 * 1024
"""Size in bytes of the receive buffer that all connections share.

Twice the size of a common response: with 64 KiB, a response of that size plus its head took two reads and two writes.
"""
EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
BATCH = 256
"""Maximum edges per poll. A guess: large enough to share the poll's cost, small enough to let trio's tasks run."""
STAY = 0.005
"""Seconds of handling batches before trio's other tasks run."""
TURN_BYTES = 1024 * 1024
"""Bulk bytes moved per turn by all connections together: about 0.3 ms, the delay for everything else."""
LINGER = 0.001
"""Seconds that a dedicated process waits for the next batch before it returns to trio's scheduler.

A pass through the scheduler costs twice as much as relaying a small message (measured: 7 µs and 3 µs). Under load the
next edge comes sooner. Trio's other tasks (health checks, DNS lookups, signals) are delayed by at most this time.
epoll_wait(2) counts in milliseconds.
"""

HANDSHAKE_TURN = 0.001
"""Seconds of handshakes' steps in a turn, one step at least, and the same for costly steps. All else waits so long."""
MOST_COSTLY = 1024
"""Costly steps that may wait before listeners stop accepting more of them. With RSA keys, they take seconds."""

GATHER_BYTES = 512 * 1024
"""Bytes that a handler in sustained bulk transfer waits for: half a pipe."""
GATHER_TIME = 0.001
"""Seconds that a handler waits for GATHER_BYTES."""
MOST_GATHERING = 8
"""Maximum handlers that gather at one time. With many streams, much data has arrived by each handler's turn."""


class Handler(Protocol):
    """Receives the edges of a file descriptor."""

    def edge(self, mask: int) -> None:
        """The descriptor became ready. ``mask`` holds EPOLLIN and other epoll flags."""

    def again(self) -> None:
        """Run the turn requested with :meth:`EpollLoop.later` or :meth:`EpollLoop.queue`."""

    def failed(self, exception: Exception) -> None:
        """``edge`` or ``again`` raised. Close what belongs to this handler, and nothing else."""


class BulkHandler(Handler, Protocol):
    """A handler that moves byte streams."""

    streak: int
    """Consecutive bytes moved by splice."""
    closed: bool

    def wake_at(self, count: int) -> None:
        """Request the next edge when ``count`` bytes are readable."""


class Pausable(Protocol):
    """A handler that pauses before it retries."""

    def resume(self) -> None:
        """Retry."""


class _WakeupHandler:
    """Handler of the wake-up descriptor. Its edge only ends the wait."""

    def edge(self, mask: int) -> None: ...
    def again(self) -> None: ...
    def failed(self, exception: Exception) -> None: ...


class TurnState:
    """State shared by all handlers: the buffers, the pipe pool, and the current turn.

    ``now`` is the time of the turn (seconds, trio's clock). ``budget`` is the number of bulk bytes left in the turn.
    """

    def __init__(self, pipes: PipePool) -> None:
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        self.plain = memoryview(bytearray(BUFFER + 2 * RECORD))
        """What TLS has decoded from a full buffer, and from the rest of a record before it."""
        self.pipes = pipes
        self.now = 0.0
        self.budget = 0


class EpollLoop:
    """Calls handlers when their descriptors are ready.

    ``fault(where, exception)`` reports bugs in handlers. Each bug closes only one connection. ``dedicated`` means that
    the process has little other work: see LINGER.
    """

    def __init__(self, *, turn: TurnState, fault: Callable[[str, Exception], None], dedicated: bool) -> None:
        self.turn = turn
        self.fault = fault
        self.batches = self.edges = 0
        self.clock = trio.lowlevel.current_clock().current_time
        """The time in seconds, as trio.current_time()."""
        self._linger = LINGER if dedicated else 0
        self._epoll = select.epoll()
        self._bridge = select.epoll()
        """An epoll between this loop's epoll and trio's. It reports readiness only while the loop waits.

        The loop's epoll stays registered: adding an epoll to another one scans every socket in it.
        """
        self.handlers: dict[int, Handler] = {}
        """By descriptor. A watched descriptor may be given another handler here."""
        self._again: deque[Handler] = deque()
        self._queue: deque[BulkHandler] = deque()
        """Handlers with more data than the turn's budget allowed, oldest first."""
        self._steps: deque[Handler] = deque()
        """Handlers of handshakes, oldest first."""
        self._costly: deque[Handler] = deque()
        """Those whose next step is costly."""
        self._crowded = False
        self.on_few_costly: Callable[[], None] = lambda: None
        """Called once :attr:`crowded` has been true and half of the costly steps are done."""
        self._closing: list[socket.SocketType] = []
        self._gathering: dict[BulkHandler, float] = {}
        """Handlers that wait for GATHER_BYTES, with the time of their last read."""
        self._in_batch = False
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wakeup, select.EPOLLIN | select.EPOLLET)
        self._bridge.register(self._epoll, 0)
        self.handlers[self._wakeup] = _WakeupHandler()
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Handle edges until cancelled."""
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
            if self._again or self._queue or self._steps or self._costly or self._gathering:
                await trio.lowlevel.checkpoint()
            else:
                self._bridge.modify(self._epoll, select.EPOLLIN)
                await trio.lowlevel.wait_readable(self._bridge)
                self._bridge.modify(self._epoll, 0)
            stay_until = self.clock() + STAY
            while self._take_turn() and self.turn.now < stay_until:
                pass

    def _take_turn(self) -> bool:
        """Handle one batch. Return False if there was no work."""
        deferred = self._again or self._queue or self._steps or self._costly
        edges = self._epoll.poll(0 if deferred else self._linger, BATCH)
        if not (edges or deferred or self._gathering):
            return False
        self.batches += 1
        self.edges += len(edges)
        turn = self.turn
        turn.now = self.clock()
        turn.budget = 0 if self._queue else TURN_BYTES  # queued bulk goes before bulk from new edges
        waiting = bool(self._queue)
        self._in_batch = True
        handlers = self.handlers
        for fd, mask in edges:
            handler = handlers.get(fd)  # None: closed by an earlier edge of this batch
            if handler is not None:
                try:
                    handler.edge(mask)
                except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
                    self._contain(handler, exception)
        if self._closing:
            self._close_sockets()
        if self._again or self._queue:
            if waiting:
                turn.budget = TURN_BYTES
            self._run_deferred()
        if self._steps or self._costly:
            self._run_handshakes()
        self._in_batch = False
        if self._gathering:
            self._stop_gathering()
        return True

    def _run_deferred(self) -> None:
        """Run the deferred handlers, then the queued bulk, oldest first, within the budget."""
        for _ in range(len(self._again)):
            self._call_again(self._again.popleft())
        while self._queue and self.turn.budget > 0:
            self._call_again(self._queue.popleft())
        self._close_sockets()

    def _run_handshakes(self) -> None:
        """Run the steps of handshakes for which this turn has time."""
        self._run_steps(self._steps)
        self._run_steps(self._costly)
        if self._crowded and len(self._costly) <= MOST_COSTLY // 2:
            self._crowded = False
            self.on_few_costly()

    def _run_steps(self, steps: deque[Handler]) -> None:
        """Run steps of handshakes, oldest first, for the time that a turn has for them."""
        until = self.clock() + HANDSHAKE_TURN
        while steps:
            self._call_again(steps.popleft())
            if self.clock() >= until:
                break
        self._close_sockets()

    def gather(self, handler: BulkHandler) -> None:
        """Delay the next edge of a handler in sustained bulk transfer until GATHER_BYTES are readable.

        The handler calls it after a read. A stream in large pieces costs a third less than in small ones, because each
        piece wakes this process and the receiver. If GATHER_BYTES do not arrive within GATHER_TIME, the handler gets
        normal edges again, so no byte waits longer than that.
        """
        if handler not in self._gathering:
            if not self._linger or len(self._gathering) >= MOST_GATHERING:
                return
            handler.wake_at(GATHER_BYTES)
        self._gathering[handler] = self.turn.now

    def _stop_gathering(self) -> None:
        for handler, last_read in list(self._gathering.items()):
            if self.turn.now - last_read >= GATHER_TIME:
                del self._gathering[handler]
                handler.streak = 0
                if not handler.closed:
                    handler.wake_at(1)

    def _close_sockets(self) -> None:
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
        """Call ``handler.again()`` after this turn's edges. Sockets that they closed no longer count then."""
        self._again.append(handler)
        if not self._in_batch:
            os.eventfd_write(self._wakeup, 1)

    def queue(self, handler: BulkHandler) -> None:
        """Call ``handler.again()`` after the handlers queued before it."""
        self._queue.append(handler)
        if not self._in_batch:
            os.eventfd_write(self._wakeup, 1)

    def queue_step(self, handler: Handler, *, costly: bool) -> None:
        """Call ``handler.again()`` after the steps of handshakes queued before it. Costly ones wait on their own."""
        (self._costly if costly else self._steps).append(handler)
        if not self._in_batch:
            os.eventfd_write(self._wakeup, 1)

    @property
    def costly_waiting(self) -> int:
        """Costly steps that wait for their turn."""
        return len(self._costly)

    @property
    def crowded(self) -> bool:
        """True if so many costly steps wait that no more should be accepted."""
        self._crowded = self._crowded or len(self._costly) >= MOST_COSTLY
        return self._crowded

    def watch(self, fd: int, handler: Handler, edges: int = EDGES) -> None:
        """Register a new descriptor and send its edges to ``handler``. Existing readiness counts as an edge."""
        self._epoll.register(fd, edges)
        self.handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """Unregister a descriptor and leave it open."""
        del self.handlers[fd]
        self._epoll.unregister(fd)

    def close(self, sock: socket.SocketType) -> None:
        """Close a registered socket.

        Within a batch, the socket is closed after the batch's edges. The kernel reuses a closed descriptor number at
        once, so a later edge of the old socket would otherwise reach the new one.
        """
        self.handlers.pop(sock.fileno(), None)
        if self._in_batch:
            self._closing.append(sock)
        else:
            sock.close()

    def refresh(self) -> None:
        """Let the time of the turn be that of now, if no turn is under way. For calls from elsewhere."""
        if not self._in_batch:
            self.turn.now = self.clock()

    def spawn(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run a task beside the loop. It must not raise."""
        self._nursery.start_soon(function)

    def pause(self, handler: Pausable) -> None:
        """Call ``handler.resume()`` after EXHAUSTED_PAUSE seconds."""
        self._nursery.start_soon(self._resume_after_pause, handler)

    async def _resume_after_pause(self, handler: Pausable) -> None:
        await trio.sleep(EXHAUSTED_PAUSE)
        handler.resume()
