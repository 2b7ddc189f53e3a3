"""A connector whose connects serve several exchanges: the connection that comes of one has room for as many."""

from __future__ import annotations

import socket
from collections.abc import Callable

from lb.http.shared_connections import Follower, PendingConnect, SharedConnections
from lb.pools.backend import Backend
from lb.proxy.connector import Connector, ConnectorOwner
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route
from lb.tls.layer import Tls

__all__ = ["StreamConnector"]


class StreamConnector(Connector):
    """The first exchange for which a server has no room connects; others wait for that connect, as far as it will do.

    If it fails, it has failed for all of them: each goes to its next server. If its exchange ends before, the next one
    that waits connects.
    """

    __slots__ = ("_connecting", "_shared", "_waits_for")

    def __init__(
        self,
        shared: SharedConnections,
        context: ConnectionContext,
        route: Route,
        owner: ConnectorOwner,
        now: float,
        reuse: Callable[[Backend], bool] | None = None,
    ) -> None:
        super().__init__(context, route, owner, now, reuse)
        self._shared = shared
        self._connecting: PendingConnect | None = None
        """Its own connect."""
        self._waits_for: PendingConnect | None = None
        """That of another exchange."""

    def _connect(self, backend: Backend) -> OSError | None:
        if self._connecting is None:  # else it goes on with the server's next address
            self._waits_for = self._shared.wait(backend, self)
        if self._waits_for is not None:
            self._target = backend.targets[0] if backend.targets else None
            return None
        failure = super()._connect(backend)
        if failure is None and self._connecting is None:
            self._connecting = self._shared.begin_connect(backend, self.pool.spec.http.max_streams)
        return failure

    def ready(self, server: socket.SocketType, tls: Tls | None = None) -> None:
        waiting = self._end_connect()
        try:
            super().ready(server, tls)
        finally:
            self._let_go_on(waiting)

    def _attempt_failed(self, backend: Backend, error: OSError) -> None:
        waiting = self._end_connect()
        self._stop_following()
        super()._attempt_failed(backend, error)
        for each in waiting:
            each.contain(each.fail_too, error)

    def cancel(self) -> None:
        waiting = self._end_connect()
        self._stop_following()
        super().cancel()
        self._let_go_on(waiting)

    def hold_timed_out(self) -> None:
        if self._waits_for is None:  # else an attempt is in progress, which is not its own
            super().hold_timed_out()

    def hand_over(self) -> Backend:
        self._stop_following()
        return super().hand_over()

    def _end_connect(self) -> list[Follower]:
        connecting, self._connecting = self._connecting, None
        return [] if connecting is None else self._shared.end_connect(connecting)

    def _stop_following(self) -> None:
        if self._waits_for is not None:
            self._waits_for.waiting.pop(self, None)
            self._waits_for = None

    def _let_go_on(self, waiting: list[Follower]) -> None:
        for each in waiting:
            each.contain(each.go_on)

    def contain(self, call: Callable[..., None], *args: OSError) -> None:
        try:
            call(*args)
        except Exception as exception:  # noqa: BLE001 - a bug in one exchange must not reach the other
            self._shared.fault("http", exception)
            self.owner.failed()

    def go_on(self) -> None:
        self._waits_for = None
        backend = self.backend
        assert backend is not None  # noqa: S101 - it has waited for it
        if self._reuse is not None and self._reuse(backend):
            return
        self._addresses_left = len(backend.targets)
        failure = self._connect(backend)
        if failure is not None:
            self._attempt_failed(backend, failure)
            self.start()

    def fail_too(self, error: OSError) -> None:
        self._waits_for = None
        backend = self.backend
        assert backend is not None  # noqa: S101 - the same
        self.speaks_for_others = True
        self._attempt_failed(backend, error)
        self.start()
