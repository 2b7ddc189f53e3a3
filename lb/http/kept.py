"""Kept connections: idle connections to servers, for the next request.

Those of a server are a stack: the one that was used last is used first, so the others time out when fewer are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lb.http.server_connection import ServerConnection
from lb.pools.backend import Backend
from lb.proxy.context import ConnectionContext
from lb.relay.epoll_loop import EpollLoop

if TYPE_CHECKING:
    from lb.http.shared_connections import SharedConnections

__all__ = ["KeptConnections"]


class KeptConnections:
    """The idle connections of this process, of all listeners of mode ``http``."""

    def __init__(self, context: ConnectionContext) -> None:
        self._descriptors = context.descriptors
        self.generation = 1
        """Of the configuration."""
        self._idle: dict[Backend, list[ServerConnection]] = {}
        self._shared: SharedConnections | None = None
        context.kept_connections = self.by_pool

    def share(self, loop: EpollLoop) -> SharedConnections:
        """Return the connections of HTTP/2."""
        if self._shared is None:
            from lb.http.shared_connections import SharedConnections  # noqa: PLC0415 - only who has such servers needs it

            self._shared = SharedConnections(self._descriptors, loop.fault)
        return self._shared

    def take(self, backend: Backend) -> ServerConnection | None:
        """Return an idle connection to a server, if there is one. The caller owns it from now on."""
        idle = self._idle.get(backend)
        return idle.pop() if idle else None

    def keep(self, connection: ServerConnection) -> None:
        """Keep a connection whose response is complete, or close it if there are enough."""
        backend = connection.backend
        idle = self._idle.get(backend)
        enough = (0 if idle is None else len(idle)) >= connection.pool.spec.http.keep_alive
        if enough or backend.leaving or not (connection.generation == self.generation or self._admit(connection)):
            connection.close_socket()
            return
        if idle is None:
            idle = self._idle[backend] = []
        idle.append(connection)
        connection.became_idle()

    def _admit(self, connection: ServerConnection) -> bool:
        """Look at a connection that was not kept yet, or not since a change of the configuration: may it be kept?"""
        if not connection.is_current or not (connection.kept or self._descriptors.has(1)):
            return False
        if not connection.kept:
            connection.kept = True
            connection.keep_alive()
            self._descriptors.take(1)
        connection.generation = self.generation
        return True

    def forget(self, connection: ServerConnection) -> None:
        """An idle connection ends."""
        self._idle[connection.backend].remove(connection)

    def closed(self, connection: ServerConnection) -> None:
        """A connection that was kept once ends, or is relayed. It had a descriptor of its own until then."""
        self._descriptors.give(1)
        backend = connection.backend
        if backend.leaving and not self._idle.get(backend):
            self._idle.pop(backend, None)

    def close_all(self, backend: Backend) -> None:
        """Close the connections to a server that is used no more."""
        for connection in list(self._idle.get(backend, ())):
            self.forget(connection)
            connection.close_socket()
        self._idle.pop(backend, None)
        if self._shared is not None:
            self._shared.close_all(backend)

    def close_outdated(self) -> None:
        """Close the connections to servers that have left or whose settings have changed."""
        self.generation += 1
        for idle in list(self._idle.values()):
            for connection in list(idle):
                if connection.backend.leaving or not connection.is_current:
                    self.forget(connection)
                    connection.close_socket()
        if self._shared is not None:
            self._shared.close_outdated()

    def by_pool(self) -> Mapping[str, int]:
        """Return the number of idle connections of each pool."""
        counts: dict[str, int] = {}
        for idle in self._idle.values():
            for connection in idle[:1]:
                pool = connection.pool.name
                counts[pool] = counts.get(pool, 0) + len(idle)
        for each in self._shared.idle() if self._shared is not None else ():
            counts[each.pool.name] = counts.get(each.pool.name, 0) + 1
        return counts
