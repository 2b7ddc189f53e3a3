"""HTTP/2 connections to servers, which exchanges of all listeners share, and connects that several exchanges wait for.

The oldest connection with room gets the next exchange, so that the others become idle, and time out, when fewer are
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary

import attrs

from lb.http.http2_server import Http2Server
from lb.http.server_stream import ServerStream
from lb.http2.hpack_reader import FieldSections
from lb.net.descriptors import Descriptors
from lb.pools.backend import Backend

__all__ = ["Follower", "PendingConnect", "SharedConnections"]


FIRST_ALLOWED = 100
"""Streams that a server that was never asked is thought to allow: RFC 9113 recommends that no server allows less."""


class Follower(Protocol):
    """Waits for a connect of another exchange."""

    def go_on(self) -> None:
        """The connect has ended: use the connection, or connect."""

    def fail_too(self, error: OSError) -> None:
        """The connect has failed, and was counted."""

    def contain(self, call: Callable[..., None], *args: OSError) -> None:
        """Call within what another exchange does: a bug in one must not reach the other."""


@attrs.define(eq=False)
class PendingConnect:
    """A connect to a server, and those that wait for it."""

    backend: Backend
    room: int
    """Exchanges that may still wait."""
    waiting: dict[Follower, None] = attrs.field(factory=dict)


class SharedConnections:
    """The HTTP/2 connections of this process, of all listeners."""

    def __init__(self, descriptors: Descriptors, fault: Callable[[str, Exception], None]) -> None:
        self._descriptors = descriptors
        self.fault = fault
        """Reports bugs."""
        self.sections = FieldSections()
        """Heads of responses that came lately."""
        self._allowed: WeakKeyDictionary[Backend, int] = WeakKeyDictionary()
        """Streams that servers have allowed at a time on their last connections."""
        self._open: dict[Backend, list[Http2Server]] = {}
        self._pending: dict[Backend, list[PendingConnect]] = {}

    def take(self, backend: Backend) -> ServerStream | None:
        """Return the carrier of a new exchange, if a connection has room for one. The caller owns it from now on."""
        for connection in self._open.get(backend, ()):
            if connection.has_room:
                return connection.new_carrier()
        return None

    def allowed(self, backend: Backend) -> int:
        """Return how many streams a server allows at a time on a new connection, as far as that is known."""
        return self._allowed.get(backend, FIRST_ALLOWED)

    def note_allowed(self, backend: Backend, count: int) -> None:
        """A server has said how many streams it allows."""
        self._allowed[backend] = max(count, 1)

    def add(self, connection: Http2Server) -> None:
        """Share a new connection."""
        self._descriptors.take(1)
        self._open.setdefault(connection.backend, []).append(connection)

    def became_idle(self, connection: Http2Server) -> None:
        """The last exchange of a connection has ended: keep it, unless there are enough."""
        backend = connection.backend
        idle = sum(not each.carriers for each in self._open.get(backend, ()))
        if backend.leaving or idle > connection.pool.spec.http.keep_alive or not self._shares(connection):
            connection.close_socket()
        elif not connection.has_room:
            connection.retire()
        else:
            connection.keep_alive()

    def _shares(self, connection: Http2Server) -> bool:
        return connection in self._open.get(connection.backend, ())

    def closed(self, connection: Http2Server) -> None:
        """A connection has ended."""
        if self._shares(connection):
            self._descriptors.give(1)
            connections = self._open[connection.backend]
            connections.remove(connection)
            if not connections:
                del self._open[connection.backend]

    def close_all(self, backend: Backend) -> None:
        """Retire the connections to a server that is used no more."""
        for connection in list(self._open.get(backend, ())):
            connection.retire()

    def close_outdated(self) -> None:
        """Retire the connections to servers that have left or whose settings have changed."""
        for connections in list(self._open.values()):
            for connection in list(connections):
                if connection.backend.leaving or not connection.is_current:
                    connection.retire()

    def idle(self) -> list[Http2Server]:
        """Return the connections without an exchange."""
        return [each for connections in self._open.values() for each in connections if not each.carriers]

    # Connects

    def begin_connect(self, backend: Backend, most: int) -> PendingConnect:
        """A connect to a server begins, for an exchange and others, at most so many together."""
        pending = PendingConnect(backend, min(most, self.allowed(backend)) - 1)
        self._pending.setdefault(backend, []).append(pending)
        return pending

    def wait(self, backend: Backend, connector: Follower) -> PendingConnect | None:
        """Wait for a connect to a server, if there is one with room."""
        for pending in self._pending.get(backend, ()):
            if len(pending.waiting) < pending.room:
                pending.waiting[connector] = None
                return pending
        return None

    def end_connect(self, pending: PendingConnect) -> list[Follower]:
        """A connect has ended. Return those that waited for it."""
        connects = self._pending[pending.backend]
        connects.remove(pending)
        if not connects:
            del self._pending[pending.backend]
        waiting = list(pending.waiting)
        pending.waiting.clear()
        return waiting
