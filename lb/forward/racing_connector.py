"""A connector for a server that a client has named: all its addresses race."""

from __future__ import annotations

import socket
from collections.abc import Callable

from lb.forward.dial import Wires
from lb.forward.race import Race, RaceFailures
from lb.model.address import SocketAddress
from lb.pools.backend import Backend
from lb.proxy.connector import Connector, ConnectorOwner
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route

__all__ = ["RacingConnector"]


class RacingConnector(Connector):
    """Implements RaceOwner. ``wires``: how the listener connects."""

    __slots__ = ("_failure", "_starting", "_wires")

    def __init__(
        self,
        wires: Wires,
        context: ConnectionContext,
        route: Route,
        owner: ConnectorOwner,
        now: float,
        reuse: Callable[[Backend], bool] | None = None,
    ) -> None:
        super().__init__(context, route, owner, now, reuse)
        self._wires = wires
        self._failure: OSError | None = None
        self._starting = False

    def _connect(self, backend: Backend) -> OSError | None:
        wires = self._wires
        if not backend.targets:
            return OSError(f"cannot look up {backend.spec.address.host}")
        self._target = backend.targets[0]
        self._addresses_left = 0
        self._failure = None
        self._starting = True
        self._in_progress = race = Race(
            self._context, backend.targets, wires.outgoing, self, wires.delay_queue, wires.timeout_queue
        )
        race.start()
        self._starting = False
        return self._failure

    def won(self, server: socket.SocketType, target: SocketAddress) -> None:
        self._target = target
        self.connected(server)

    def lost(self, failures: RaceFailures) -> None:
        self._failure = failures[-1][1]
        if not self._starting:
            self.connect_failed(self._failure)
