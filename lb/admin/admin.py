"""The admin endpoint of a running balancer. It follows the configuration, as listeners do.

Its modules are imported when a configuration has an endpoint.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import TYPE_CHECKING

import trio

from lb.admin.feed import Feed
from lb.admin.process import ConfigFile
from lb.announce.announcer import Announcer
from lb.cluster.cluster import Cluster
from lb.control.balancer import Balancer
from lb.control.bindings import ADMIN, bind_targets, open_admin
from lb.events import AdminStarted
from lb.events.base import Observers
from lb.model import AdminSpec
from lb.model.address import Address
from lb.model.binds import Place
from lb.net.activation import socket_name
from lb.net.sockets import Opened, remove_file

if TYPE_CHECKING:
    from lb.admin.endpoint import Endpoint
    from lb.admin.history import History

__all__ = ["Admin"]


class Admin:
    """Implements :class:`lb.admin.process.Process`. Serves in the nursery of the caller."""

    def __init__(
        self,
        balancer: Balancer,
        announcer: Announcer,
        cluster: Cluster,
        sink: Observers,
        file: ConfigFile,
        nursery: trio.Nursery,
    ) -> None:
        self.balancer = balancer
        self.announcer = announcer
        self.cluster = cluster
        self.feed = Feed()
        self.sink = sink
        self.file = file
        self._nursery = nursery
        self._bind: Address | None = None
        self._sockets: list[socket.socket] = []
        self._scope = trio.CancelScope()
        self._endpoint: Endpoint | None = None
        self._history: History | None = None

    async def open(self, spec: AdminSpec | None) -> list[socket.socket]:
        """Bind the address unless it is bound; return the new sockets. Raises OSError, see :func:`open_admin`."""
        if spec is None or spec.bind == self._bind:
            return []
        return open_admin(spec, await bind_targets(spec.bind))

    def follow(self, spec: AdminSpec | None, opened: list[socket.socket]) -> None:
        """Serve on the sockets from :meth:`open`, and stop serving on the old address."""
        bind = spec.bind if spec is not None else None
        if bind == self._bind:
            return
        self._end()
        if self._bind is not None:
            remove_file(self._bind)
        self._bind, self._sockets = bind, opened
        if opened:
            from lb.admin.endpoint import Endpoint  # noqa: PLC0415 - most configurations have none

            self.sink.add(self.feed)
            self._scope = trio.CancelScope()
            self._endpoint = Endpoint(opened, self, self._begin_history())
            for sock in opened:
                self.sink(AdminStarted(socket_name(sock)))
            self._nursery.start_soon(self._serve, self._endpoint, self._scope)
        elif self._history is not None:
            self.sink.remove(self._history)
            self._history = None

    def _begin_history(self) -> History:
        """Return the history of the pools, which stays when the address changes."""
        from lb.admin.history import History  # noqa: PLC0415 - as the endpoint

        if self._history is None:
            self._history = History(self._state_of)
            self.sink.add(self._history)
        return self._history

    def _state_of(self, pool: str, server: str) -> str | None:
        found = self.balancer.pools.get(pool)
        backend = found.backends.get(server) if found is not None else None
        return backend.state if backend is not None else None

    @property
    def listening(self) -> Opened:
        """The listening sockets by place."""
        return {(ADMIN, self._bind): self._sockets} if self._bind is not None else {}

    def leave(self, elsewhere: Collection[Place]) -> None:
        """Stop serving: a successor process takes over. Removes the socket file unless ``elsewhere`` contains it."""
        if self._bind is not None and (ADMIN, self._bind) not in elsewhere:
            remove_file(self._bind)
        self._bind = None
        self._end()

    def _end(self) -> None:
        """Stop serving. Sockets are closed first, so that no client waits for a request that is slow to cancel."""
        if self._endpoint is not None:
            self._endpoint.close()
        self._scope.cancel()

    async def _serve(self, endpoint: Endpoint, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await endpoint.run()
        finally:
            endpoint.close()
            if scope is self._scope and self._bind is not None:  # the process ends; the address did not change
                remove_file(self._bind)
