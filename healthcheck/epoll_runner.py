"""Makes the checks of conversation probes in plain function calls: no task and no timer for each check.

All connections share one edge-triggered epoll, see epoll(7). :class:`healthcheck.checker.Checker` waits for its
descriptor and calls :meth:`EpollRunner.look`.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import sys

import trio

from healthcheck.check import ServerCheck
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import CLOSE_TIMEOUT, ProbeFailed, Target
from lb.net.deadlines import DeadlineQueue
from lb.net.errors import describe_error
from lb.net.tcp import is_self_connected

assert sys.platform == "linux"  # noqa: S101 - mypy reads it too

__all__ = ["EpollRunner"]

BROKEN = select.EPOLLERR | select.EPOLLHUP
READ_MASK = select.EPOLLIN | select.EPOLLRDHUP | BROKEN
READ_EDGES = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
ALL_EDGES = READ_EDGES | select.EPOLLOUT
END = 0.02
"""Seconds until the next look at connections that end: one wake-up for many."""
MOST_EDGES = 16
"""Maximum edges before the clock is looked at."""
LONGEST_LOOK = 0.002
"""Seconds after which a look ends, so that other tasks run."""
READ = 8192
MOST_READS = 2
"""Maximum reads per edge: a server that sends without end must not stop the others."""
MIN_LOOKS = 8
"""Minimum looks within a timeout. They tell whether this process was late."""


class EpollRunner:
    """The connections of all checks in progress, and those kept for the next check."""

    def __init__(self) -> None:
        self.in_flight = 0
        """The number of connections that are not idle."""
        self.lag = 0.0
        """Seconds in which this process did not look though it should have, in total."""
        self.clock = trio.lowlevel.current_clock().current_time
        self.looked = self.clock()
        """When the last look began: all that had arrived by then has been handled, or the look has left more."""
        self.closing = DeadlineQueue("check_close", CLOSE_TIMEOUT)
        """Connections that end after the verdict."""
        self._timeouts: dict[float, DeadlineQueue] = {}
        self._epoll = select.epoll()
        self._connections: dict[int, CheckSocket] = {}
        """All connections, by descriptor."""
        self._again: list[ServerCheck] = []
        """Checks whose kept connection was closed before the server saw the request."""
        self._ending: list[CheckSocket] = []
        """Connections whose server is expected to close before the next look."""

    def close(self) -> None:
        """Close all connections."""
        for connection in [*self._connections.values(), *self._ending]:
            connection.cancel()
        self._epoll.close()

    def start(self, check: ServerCheck, now: float) -> None:
        """Start a check, over the kept connection if there is one."""
        check.started = now
        kept = check.kept
        if kept is not None:
            check.kept = None
            if isinstance(kept, CheckSocket) and kept.again(now):
                return
            kept.cancel()
        self._connect(check, now)

    def _connect(self, check: ServerCheck, now: float) -> None:
        try:
            check.running = connection = CheckSocket(self, check, now)
        except (ProbeFailed, OSError) as failure:
            check.done(failure, now)
        else:
            connection.begin(now)

    async def readable(self) -> None:
        """Wait until there is something to look at."""
        await trio.lowlevel.wait_readable(self._epoll)

    @property
    def next_look(self) -> float:
        """The time of the next look, if nothing happens before. Counts from the last one, in which a stall may fall."""
        if not self.in_flight:
            return math.inf
        if self._ending:
            return self.looked + END
        waiting = [queue for queue in (*self._timeouts.values(), self.closing) if len(queue)]
        first = min((queue.next_deadline for queue in waiting), default=math.inf)
        shortest = min((queue.timeout for queue in waiting), default=math.inf)
        return min(first, self.looked + shortest / MIN_LOOKS)

    def look(self, now: float, lag: float = 0.0) -> bool:
        """Handle what has happened. ``lag`` is how late this look was at ``now``. Return True if there may be more."""
        self.lag += lag
        self.looked = now
        ending, self._ending = self._ending, []
        for ended in ending:
            ended.end(now)
        if not self._handle_edges(now):
            return True
        # All that arrived before now has been handled. What is due now had no answer in time.
        for queue in (*self._timeouts.values(), self.closing):
            while (wait := queue.pop_due(now)) is not None:
                wait.expired(queue)
        return False

    def _handle_edges(self, now: float) -> bool:
        """Handle the sockets that are ready. Return False if there may be more, and the turn is over."""
        while True:
            edges = self._epoll.poll(0, MOST_EDGES)
            for fd, mask in edges:
                connection = self._connections.get(fd)  # None: closed by an earlier edge of this batch
                if connection is not None:
                    connection.edge(mask)
            # After the batch, as a new socket may get the descriptor of one closed in it.
            again, self._again = self._again, []
            for check in again:
                if check.running is not None:
                    self._connect(check, now)
            if len(edges) < MOST_EDGES:
                return True
            if self.clock() - now >= LONGEST_LOOK:
                return False

    # For the connections

    def timeouts(self, timeout: float) -> DeadlineQueue:
        """Return the queue of checks with this timeout."""
        queue = self._timeouts.get(timeout)
        if queue is None:
            self._timeouts = {timeout: queue for timeout, queue in self._timeouts.items() if len(queue)}
            queue = self._timeouts[timeout] = DeadlineQueue("check", timeout)
        return queue

    def watch(self, fd: int, connection: CheckSocket, edges: int) -> None:
        """Send the edges of a socket to a connection. Existing readiness counts as an edge."""
        if fd in self._connections:
            self._epoll.modify(fd, edges)
        else:
            self._epoll.register(fd, edges)
            self._connections[fd] = connection

    def forget(self, fd: int) -> None:
        """Forget a socket that is about to be closed."""
        self._connections.pop(fd, None)

    def end_later(self, fd: int, connection: CheckSocket) -> None:
        """Send no more edges of a connection, and call its ``end()`` at the next look.

        Most servers have closed by then: one wake-up for many connections, and not two edges for each.
        """
        if self._connections.pop(fd, None) is not None:
            self._epoll.unregister(fd)
        self._ending.append(connection)

    def connect_again(self, check: ServerCheck) -> None:
        """Make the check over a new connection."""
        self._again.append(check)


class CheckSocket:
    """The socket of a check. Implements :class:`lb.net.deadlines.Wait`."""

    __slots__ = (
        "_active",
        "_check",
        "_connected",
        "_judged",
        "_lag",
        "_probe_side",
        "_queue",
        "_runner",
        "_shut",
        "_since",
        "_sock",
        "_target",
        "_unseen",
    )

    def __init__(self, runner: EpollRunner, check: ServerCheck, now: float) -> None:
        """Start to connect. Raises ProbeFailed or OSError."""
        assert isinstance(check.probe, ConversationProbe)  # noqa: S101 - the checker gives it no others
        self._runner = runner
        self._check = check
        self._target: Target = check.target
        self._probe_side = check.probe.open(self._target)
        self._shut = False
        self._unseen = False
        """It is a kept connection, and the server has not shown yet that it saw the new request."""
        family, sockaddr = self._target.sockaddr
        self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if self._target.outgoing is not None:
                self._target.outgoing.prepare(self._sock)
            self._connected = _connect(self._sock, sockaddr)
        except BaseException:
            self._sock.close()
            raise
        self._count(now)

    def begin(self, now: float) -> None:
        """Wait for the connection. If it is there already, begin the conversation."""
        if self._connected:
            self._established(0, now)
            self._go_on(now)
            if self._shut or self._sock.fileno() < 0:
                return
        waits_to_send = not self._connected or self._probe_side.outgoing
        self._runner.watch(self._sock.fileno(), self, ALL_EDGES if waits_to_send else READ_EDGES)

    def _count(self, now: float) -> None:
        """A check over this connection is in progress."""
        runner = self._runner
        runner.in_flight += 1
        self._active = True
        self._judged = False
        self._since = now
        self._lag = runner.lag
        self._queue = runner.timeouts(self._check.timeout)
        self._queue.enter(self, now)

    def again(self, now: float) -> bool:
        """Make another check over this kept connection. Return False if the server's address has changed."""
        check = self._check
        probe, target = check.probe, check.target
        if target is not self._target or not isinstance(probe, ConversationProbe):
            return False
        check.running = self
        self._unseen = True
        self._count(now)
        probe.talk_again(target, self._probe_side)
        self._go_on(now)
        return True

    def edge(self, mask: int) -> None:
        """The socket became ready."""
        now = self._runner.clock()
        if not self._connected and not self._finish_connect(mask, now):
            return
        if mask & READ_MASK and not self._read(now):
            self._runner.watch(self._sock.fileno(), self, ALL_EDGES)
        self._go_on(now)

    def _finish_connect(self, mask: int, now: float) -> bool:
        """Return True if the connect has ended, successfully or not."""
        if not mask & (select.EPOLLOUT | BROKEN):
            return False
        self._connected = True
        failure = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if mask & BROKEN else 0
        self._established(failure, now)
        return True

    def _established(self, failure: int, now: float) -> None:
        """The connect has ended with this errno."""
        if not failure and is_self_connected(self._sock, self._target.sockaddr[1]):
            failure = errno.ECONNREFUSED
        if failure in (0, errno.ECONNRESET):  # reset: after it was accepted. A refused connect is ECONNREFUSED
            self._probe_side.connected(self._ms(now), self._target.proxy_header(self._sock))
        if failure:
            self._probe_side.broke(OSError(failure, os.strerror(failure)))

    def _read(self, now: float) -> bool:
        """Pass on what has arrived. Return False if there may be more."""
        probe_side = self._probe_side
        for _ in range(MOST_READS):
            if probe_side.finished:
                break
            try:
                data = self._sock.recv(READ)
            except BlockingIOError:
                break
            except OSError as error:
                self._broke(error)
                break
            if data:
                self._unseen = False
                probe_side.received(data, self._ms(now))
            elif self._unseen:
                self._broke(ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)))
                break
            else:
                probe_side.closed(self._ms(now))
        else:
            return False
        return True

    def _go_on(self, now: float) -> None:
        """Send, report the verdict, end sending and close, as the probe's side requests."""
        probe_side = self._probe_side
        if probe_side.outgoing and not probe_side.finished:
            self._send()
        if probe_side.outcome is not None and not self._judged:
            self._judged = True
            self._queue.discard(self)
            if probe_side.kept:
                self._idle()
                self._check.kept = self
            elif not (probe_side.finished or probe_side.ends_sending):  # TLS waits for the server's end
                self._wait_for_end(now)
            self._check.done(probe_side.outcome, now)
        if probe_side.finished:
            self.cancel()
        elif probe_side.ends_sending and not probe_side.outgoing and not self._shut:
            self._end_sending()

    def _send(self) -> None:
        try:
            sent = self._sock.send(self._probe_side.outgoing)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._broke(error)
            return
        self._probe_side.outgoing = rest = self._probe_side.outgoing[sent:]
        if rest:
            self._runner.watch(self._sock.fileno(), self, ALL_EDGES)

    def _broke(self, error: OSError) -> None:
        if self._unseen:
            self.cancel()
            self._runner.connect_again(self._check)
        else:
            self._probe_side.broke(error)

    def _end_sending(self) -> None:
        """End sending, and wait for the server to do the same."""
        self._shut = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:  # the server has reset the connection meanwhile
            self.cancel()
        else:
            self._runner.end_later(self._sock.fileno(), self)

    def end(self, now: float) -> None:
        """Close if the server has closed, else wait for it."""
        if self._active:
            self._read(now)
            if self._probe_side.finished:
                self.cancel()
            else:
                self._runner.watch(self._sock.fileno(), self, READ_EDGES)
                self._wait_for_end(now)

    def _wait_for_end(self, now: float) -> None:
        self._queue.discard(self)
        self._queue = self._runner.closing
        self._queue.enter(self, now)

    def expired(self, queue: DeadlineQueue) -> None:
        """There was no verdict in time, or the server does not close.

        Time in which this process did not look is not the server's: it gets as much again. It is judged as of the look:
        a stall since then shows in the next one.
        """
        if not self._judged:
            now = self._runner.looked
            since = self._since + self._runner.lag - self._lag
            if now < since + self._check.timeout:
                queue.renew(self, since)
                return
            self._judged = True
            self._probe_side.timed_out()
            self._check.done(self._probe_side.outcome, now)
        self.cancel()

    def cancel(self) -> None:
        """Close, without a verdict if there is none yet."""
        fd = self._sock.fileno()
        if fd >= 0:
            self._queue.discard(self)
            self._idle()
            self._runner.forget(fd)
            self._sock.close()
            if self._check.kept is self:
                self._check.kept = None

    def _idle(self) -> None:
        if self._active:
            self._active = False
            self._runner.in_flight -= 1

    def _ms(self, now: float) -> float:
        return (now - self._check.started) * 1000


def _connect(sock: socket.socket, sockaddr: object) -> bool:
    """Start to connect. Return True if the connection is there already, as over loopback.

    Raises ProbeFailed for a unix socket whose backlog is full, else OSError.
    """
    error = sock.connect_ex(sockaddr)  # type: ignore[arg-type]
    if error == errno.EINPROGRESS:
        error = sock.connect_ex(sockaddr)  # type: ignore[arg-type]
    if error == errno.EAGAIN and sock.family == socket.AF_UNIX:
        raise ProbeFailed(describe_error(BlockingIOError(errno.EAGAIN, "")))
    if error not in (0, errno.EALREADY):
        raise OSError(error, os.strerror(error))
    return error == 0
