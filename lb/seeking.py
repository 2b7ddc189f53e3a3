"""How a client gets a server: pick one, connect, and if that fails the next, or wait for one.

The half of a connection (:mod:`lb.connection`) that comes before the two are joined. Nothing has been read from the
client's stream yet, so there is nothing to replay.
"""

from __future__ import annotations

import abc
import errno
import socket
from typing import TYPE_CHECKING, Literal

from lb.address import Client, SocketAddress
from lb.backend import Backend
from lb.connection_context import ConnectionContext
from lb.errors import EXHAUSTED, describe_error
from lb.events import Attempt, EndedBy, Reason
from lb.holding import Holding
from lb.pool import Pool
from lb.route import Route
from lb.splicing.deadlines import DeadlineQueue
from lb.splicing.splicer import Connecting

if TYPE_CHECKING:
    from lb.listener import Listener

__all__ = ["LOCAL_ERRORS", "Seeking"]

MOST_ATTEMPTS = 20
"""Failed attempts kept for the record, the latest: a held connection may make many."""
LOCAL_ERRORS = EXHAUSTED | {errno.EADDRNOTAVAIL, errno.EACCES, errno.ECANCELED}
"""Connect errors that say nothing about the server: this host is out of something, or forbids it. From connect(2)."""


class Seeking(abc.ABC):
    """A client that is to get a server. It has got one when the splicer, or whoever it asks, calls ``connected``."""

    __slots__ = (
        "_addresses_left",
        "_attempt_at",
        "_attempts",
        "_context",
        "_hold",
        "_pool",
        "_round",
        "_route",
        "_target",
        "_tried",
        "_under_way",
        "_wait",
        "backend",
        "client",
        "listener",
        "sock",
    )

    def __init__(
        self, context: ConnectionContext, listener: Listener, sock: socket.SocketType, client: Client, now: float
    ) -> None:
        self.listener = listener
        self.sock = sock
        """The client's."""
        self.client = client
        """Whom logs, strategies and access lists see."""
        self.backend: Backend | None = None
        """The server that it holds a lease on."""
        self._context = context
        self._route: Route = listener.route
        self._pool: Pool = self._route.pool
        self._attempt_at = now
        self._attempts: tuple[Attempt, ...] = ()
        self._tried: tuple[Backend, ...] = ()
        self._round = 0
        """Failed attempts since the start, or since it was last held."""
        self._hold: Holding | None = None
        self._target: SocketAddress | None = None
        self._addresses_left = 0
        """Of the server's, not tried yet in this attempt."""
        self._under_way: Connecting | None = None
        """What is called off when the connection ends before it is joined: a task, or a connect."""
        self._wait: DeadlineQueue | None = None
        """Where the connect's deadline is kept."""

    @abc.abstractmethod
    def connected(self, server: socket.SocketType) -> None:
        """The splicer's answer to connect."""

    @abc.abstractmethod
    def _finish(self, ended_by: EndedBy, reason: Reason) -> None:
        """There is no server to be had."""

    def start(self) -> None:
        """Connect to the strategy's choice; on failure to the next, within the pool's retries."""
        while self._round <= self._pool.spec.retries:
            backend = self._pool.pick(self.client, self._tried)
            if backend is None:
                self._none_available()
                return
            self.backend = backend
            if self._attempts or self._hold:  # else it was accepted just now
                self._attempt_at = self._context.clock()
            self._addresses_left = len(backend.targets)
            failure = self._connect(backend)
            if failure is None:
                self._wait = self._route.connect_queue
                self._wait.enter(self, self._attempt_at)
                return
            self._attempt_failed(backend, failure)
        if self._pool.spec.when_all_down == "hold":
            self._none_available()
        else:
            self._finish("lb", "connect_failed")

    def _connect(self, backend: Backend) -> OSError | None:
        """Begin to connect to the first of the server's addresses that does not fail at once; the error if all do."""
        failure = None
        while self._addresses_left and backend.targets:
            self._addresses_left -= 1
            self._target = backend.targets[0]
            try:
                self._under_way = self._context.splicer.connect(self._target, self)
            except OSError as error:
                failure = error
                backend.turn_from(self._target)
            else:
                return None
        return failure or OSError(f"cannot look up {backend.spec.address.host}")

    def connect_failed(self, error: OSError) -> None:
        """The splicer's other answer: try the server's next address, or the next server."""
        backend = self.backend
        assert backend is not None and self._target is not None  # noqa: S101, PT018 - they were connected to
        backend.turn_from(self._target)
        failure: OSError | None = error
        if self._addresses_left and error.errno != errno.ETIMEDOUT:
            failure = self._connect(backend)
        if failure is not None:
            self._attempt_failed(backend, failure)
            self.start()

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - there is only this one
        """The attempt took too long."""
        if self._under_way is not None:
            self._under_way.cancel()
        self.connect_failed(TimeoutError(errno.ETIMEDOUT, "timed out"))

    def _attempt_failed(self, backend: Backend, error: OSError) -> None:
        now = self._context.clock()
        text = describe_error(error)
        attempt = Attempt(backend.name, text, (now - self._attempt_at) * 1000)
        self._attempts = (*self._attempts, attempt)[-MOST_ATTEMPTS:]
        self._tried += (backend,)
        self._round += 1
        self._under_way = None
        if self._wait is not None:
            self._wait.discard(self)
        self._release()
        if error.errno not in LOCAL_ERRORS:
            self._pool.connect_failed(backend, text, now)

    def _release(self) -> None:
        """The one place where a lease is given back."""
        backend, self.backend = self.backend, None
        if backend is not None:
            self._pool.release(backend)

    # Having none

    def _none_available(self) -> None:
        """Down, ejected, draining, full or tried: it may wait for a full one, or else the pool's policy decides."""
        queued = self._round <= self._pool.spec.retries and self._pool.may_queue(self._tried)
        if not queued and self._pool.spec.when_all_down != "hold":
            self._finish("lb", "no_server")
            return
        now = self._context.clock()
        if self._hold is None:
            queue = self._route.full_queue if queued else self._route.hold_queue
            self._hold = Holding(self, self._pool, queue, self._context, now)
        elif self._hold.over(now):
            self._finish("lb", "hold_timeout")
            return
        if queued:
            self._hold.wait_for_room()
        else:
            self._round = 0
            self._tried = ()
            self._hold.wait(now)

    def held_too_long(self) -> None:
        """The hold's time is over; an attempt under way may still work, and is the last."""
        if self._under_way is None:
            self._finish("lb", "hold_timeout")

    def client_left(self, reason: Literal["eof", "reset"]) -> None:
        """It has not waited for a server."""
        self._finish("client", reason)

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.discard(self)
        if self._hold is not None:
            self._hold.end()
