"""``explain_sample``: sampled connections whose log records explain the pick of their server."""

from __future__ import annotations

import socket
from collections import deque

from lb.events import EndedBy, Reason
from lb.explain.explain import explain, otherwise
from lb.model.address import Client
from lb.model.decision import Decision
from lb.pools.backend import Backend
from lb.proxy.connector import Connector, ConnectorOwner
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route
from lb.tcp.connection import Connection
from lb.tcp.frontend import Frontend

__all__ = ["ExplainedConnection", "Sampler"]

GOLDEN_RATIO = 0.6180339887498949
"""Its fractional part. Steps of this length around a circle are spread most evenly (H. Weyl, 1916)."""
MOST_DECISIONS = 5
"""Maximum picks kept for the log record. The latest are kept, because a held connection may make many."""


class Sampler:
    """Makes a listener's connections. ``share`` of them are explained.

    The choice is not random, but it never runs in step with round robin, as every 100th connection would.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._position = 0.0
        """The current position on a circle of length 1."""

    def __call__(
        self, context: ConnectionContext, frontend: Frontend, sock: socket.SocketType, client: Client
    ) -> Connection:
        self._position = (self._position + GOLDEN_RATIO) % 1
        kind = ExplainedConnection if self._position < self._share else Connection
        return kind(context, frontend, sock, client)


class ExplainedConnector(Connector):
    """A connector that records the reasons of each pick. It costs other connections nothing."""

    __slots__ = ("decisions",)

    def __init__(self, context: ConnectionContext, route: Route, owner: ConnectorOwner, now: float) -> None:
        super().__init__(context, route, owner, now)
        self.decisions: deque[Decision] = deque(maxlen=MOST_DECISIONS)

    def pick(self) -> Backend | None:
        pool, tried = self.pool, self._tried
        expected = explain(pool, self.owner.client, tried)
        backend = super().pick()
        if backend is None:
            decision = expected.choosing(None, otherwise(pool, tried))
        else:
            decision = expected.choosing(backend.name, "")
        self.decisions.append(decision.shortened())
        return backend


class ExplainedConnection(Connection):
    """A connection whose log record explains the pick of its server."""

    __slots__ = ("_decisions",)
    new_connector = ExplainedConnector

    def _finish(self, ended_by: EndedBy, reason: Reason) -> None:
        connector = self._connector
        self._decisions = tuple(connector.decisions) if isinstance(connector, ExplainedConnector) else ()
        super()._finish(ended_by, reason)

    @property
    def decisions(self) -> tuple[Decision, ...]:  # type: ignore[override]  # a constant there
        return self._decisions
