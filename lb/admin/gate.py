"""The gate of the admin endpoint: reads the first request of each connection, and refuses those without rights.

Everybody who reaches the endpoint can make it work, so all work before a request has shown its rights is done here, in
plain calls, and takes at most a tenth of a core: after each burst the gate rests nine times as long, and clients wait.
If they have to for more than a second, those who are refused are told so (429).
"""

from __future__ import annotations

import math
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence

import attrs
import h11
import trio

from lb.admin.connection import HEAD_SIZE, HEAD_TIMEOUT, LINGER_TIMEOUT, AdminConnection
from lb.admin.messages import AdminRequest, AdminResponse, error_response, last_response, request_of
from lb.events import AdminBadRequest, Fault, Sink
from lb.model.address import Client, client_of
from lb.net.descriptors import Descriptors
from lb.net.errors import EXHAUSTED

__all__ = ["Gate"]

MAX_ADMIN_CONNECTIONS = 64
"""Maximum connections. A guess: a few operators, their dashboards and two Prometheus servers need a dozen."""
KEPT = 8
"""Connections of these that only clients with rights get. They also get them when descriptors are short."""
TURN = 0.0005
"""Seconds of CPU before traffic is served."""
BURST = 0.004
"""Seconds of CPU before a rest. Shorter ones find cold caches, so that a request takes up to four times as long."""
CPU_SHARE = 0.08
"""Share of a core for clients without rights. Wake-ups take up to two hundredths more."""
REST = 0.005
"""Minimum seconds of a rest: each wake-up costs, too."""
ROUND_ACCEPTS = 64
"""Maximum clients accepted in a round."""
FAULT_PAUSE = 1.0
"""Seconds until the next round after one that has failed."""
OVERLOADED = 1.0
"""Seconds of rounds that are too much for one burst, after which refused requests get 429."""


@attrs.define(eq=False)
class _Visitor:
    """A connection that has not shown its rights. ``protocol`` is None once it was answered."""

    sock: socket.socket
    client: Client
    deadline: float
    protocol: h11.Connection | None = attrs.field(factory=lambda: h11.Connection(h11.SERVER))
    silent: bool = True
    """Nothing was received."""
    registered: bool = False
    """The selector watches it."""


class Gate:
    """Accepts on ``sockets``, which stay with the caller.

    ``at_once(request)`` returns the response to a request without rights, or None: then ``admit(connection, head)``
    gets the connection, with the head of that request. The caller calls :meth:`left` when the connection has ended.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        descriptors: Descriptors,
        at_once: Callable[[AdminRequest], AdminResponse | None],
        admit: Callable[[AdminConnection, h11.Request], None],
        sink: Sink,
    ) -> None:
        self._descriptors = descriptors
        self._at_once = at_once
        self._admit = admit
        self._sink = sink
        self._visitors: dict[_Visitor, None] = {}
        """Oldest first."""
        self._admitted: dict[AdminConnection, None] = {}
        """Longest admitted first."""
        self._busy_since = math.inf
        """Since when each round has taken more than a burst; infinite if the last one has not."""
        self._selector = selectors.DefaultSelector()
        for sock in sockets:
            self._selector.register(sock, selectors.EVENT_READ)

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            while True:
                with trio.move_on_at(min((visitor.deadline for visitor in self._visitors), default=math.inf)):
                    await trio.lowlevel.wait_readable(self._selector.fileno())
                await self._take_round_contained()
        except trio.ClosedResourceError:
            pass  # by :meth:`close`
        finally:
            self.close()

    async def _take_round_contained(self) -> None:
        try:
            await self._take_round()
        except Exception as exception:  # noqa: BLE001 - it must not affect the traffic
            self._sink(Fault("admin", exception))
            await trio.sleep(FAULT_PAUSE)

    async def _take_round(self) -> None:
        """Look at each client that has sent something, and accept some. Rests after each burst of work."""
        began, bursts, spent = trio.current_time(), 0, 0.0
        started = time.thread_time()
        for _ in self._round():
            turn = time.thread_time() - started
            if turn < TURN:
                continue
            spent += turn
            if spent >= BURST:
                await _rest(spent)
                bursts, spent = bursts + 1, 0.0
            else:
                await trio.lowlevel.checkpoint()
            started = time.thread_time()
        self._busy_since = min(self._busy_since, began) if bursts else math.inf
        await _rest(spent + time.thread_time() - started)

    def close(self) -> None:
        """Close all connections."""
        if self._selector.get_map() is not None:
            trio.lowlevel.notify_closing(self._selector.fileno())
            for visitor in list(self._visitors):
                self._drop(visitor)
            self._selector.close()
        for connection in list(self._admitted):
            connection.close()

    def left(self, connection: AdminConnection) -> None:
        """An admitted connection has ended. May be called again."""
        connection.close()
        if connection in self._admitted:
            del self._admitted[connection]
            self._descriptors.give(1)

    # Turns

    def _round(self) -> Iterator[None]:
        """Yield after each step. Nobody waits for more than the others' single steps and some accepts.

        Those who have sent something come first: the oldest of the others makes room for the next client.
        """
        ready = [key for key, _ in self._selector.select(0)]
        for visitor in [key.data for key in ready if key.data in self._visitors]:
            self._contained(visitor)
            yield
        for sock in [key.fileobj for key in ready if key.data is None]:
            for _ in range(ROUND_ACCEPTS):
                if not self._accept(sock):  # type: ignore[arg-type]  # registered in __init__
                    break
                yield
        for visitor in [each for each in self._visitors if each.deadline <= trio.current_time()]:
            self._expired(visitor)
            yield

    def _accept(self, listening: socket.socket) -> bool:
        """Accept a client and look at what it has sent. Return False if there is none, or no room."""
        replaced = None
        if not self._has_room():
            replaced = self._replaceable()
            if replaced is None:
                return False
        try:
            sock, peer = listening.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            return error.errno not in EXHAUSTED  # else that client has gone already
        if isinstance(replaced, _Visitor):
            self._drop(replaced)
        elif replaced is not None:
            self.left(replaced)
        sock.setblocking(False)
        visitor = _Visitor(sock, client_of(peer), trio.current_time() + HEAD_TIMEOUT)
        self._descriptors.take(1)
        self._visitors[visitor] = None
        self._contained(visitor)
        if visitor in self._visitors:
            self._selector.register(sock, selectors.EVENT_READ, visitor)
            visitor.registered = True
        return True

    def _has_room(self) -> bool:
        count = len(self._visitors) + len(self._admitted)
        return (
            count < MAX_ADMIN_CONNECTIONS
            and len(self._visitors) < MAX_ADMIN_CONNECTIONS - KEPT
            and (count < KEPT or self._descriptors.used < self._descriptors.limit)
        )

    def _replaceable(self) -> _Visitor | AdminConnection | None:
        """Return the connection that makes room: the oldest without rights, else the oldest that is idle."""
        idle = (connection for connection in self._admitted if connection.idle)
        return next(iter(self._visitors), None) or next(idle, None)

    def _expired(self, visitor: _Visitor) -> None:
        if visitor.protocol is None or visitor.silent:
            self._drop(visitor)
        else:
            self._bad_request(visitor, visitor.protocol, 408, f"no complete request in {HEAD_TIMEOUT:g} s")

    def _drop(self, visitor: _Visitor) -> None:
        self._forget(visitor)
        visitor.sock.close()
        self._descriptors.give(1)

    def _forget(self, visitor: _Visitor) -> None:
        del self._visitors[visitor]
        if visitor.registered:
            self._selector.unregister(visitor.sock)

    # Requests

    def _contained(self, visitor: _Visitor) -> None:
        """Read what a client has sent. An error ends this connection only."""
        try:
            self._read(visitor)
        except Exception as exception:  # noqa: BLE001 - a bug must not affect others
            self._sink(Fault("admin", exception))
            if visitor in self._visitors:
                self._drop(visitor)

    def _read(self, visitor: _Visitor) -> None:
        try:
            data = visitor.sock.recv(HEAD_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        protocol = visitor.protocol
        if protocol is None or (visitor.silent and not data):
            if not data:
                self._drop(visitor)
            return
        visitor.silent = False
        try:
            protocol.receive_data(data)
            event = protocol.next_event()
        except h11.RemoteProtocolError as error:
            self._bad_request(visitor, protocol, error.error_status_hint, str(error))
            return
        if isinstance(event, h11.Request):
            self._decide(visitor, protocol, event)

    def _decide(self, visitor: _Visitor, protocol: h11.Connection, head: h11.Request) -> None:
        """Answer a request, or admit its connection."""
        response = self._at_once(request_of(head))
        if response is not None:
            if response.status >= 400 and trio.current_time() - self._busy_since > OVERLOADED:
                response = TOO_MANY
            self._answer(visitor, protocol, response, with_body=head.method != b"HEAD")
            return
        self._forget(visitor)
        connection = AdminConnection(visitor.sock, str(visitor.client), protocol)
        self._admitted[connection] = None
        self._admit(connection, head)

    def _bad_request(self, visitor: _Visitor, protocol: h11.Connection, status: int, reason: str) -> None:
        self._sink(AdminBadRequest(str(visitor.client), reason))
        self._answer(visitor, protocol, error_response(status, reason))

    def _answer(
        self, visitor: _Visitor, protocol: h11.Connection, response: AdminResponse, *, with_body: bool = True
    ) -> None:
        """Send a short response and close. Waits for the client to close if it may still send something."""
        try:
            visitor.sock.send(last_response(response, with_body=with_body))
            visitor.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(visitor)
            return
        if _has_ended(protocol):
            self._drop(visitor)
        else:
            visitor.protocol = None
            visitor.deadline = trio.current_time() + LINGER_TIMEOUT


TOO_MANY = error_response(429, "too many requests without rights", (("Retry-After", "1"),))


def _has_ended(protocol: h11.Connection) -> bool:
    """Return True if the request was received to its end, and nothing after it."""
    if protocol.their_state is not h11.SEND_BODY:
        return False
    try:
        ended = isinstance(protocol.next_event(), h11.EndOfMessage)
    except h11.RemoteProtocolError:
        return False
    return ended and not protocol.trailing_data[0]


async def _rest(spent: float) -> None:
    """Rest for so long that the CPU seconds spent before are the share of the gate."""
    await trio.sleep(max(REST, spent / CPU_SHARE - spent))
