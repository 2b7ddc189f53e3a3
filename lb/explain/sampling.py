"""Connections of which it is written down why they got their server: ``explain_sample``."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from lb.address import Client
from lb.backend import Backend
from lb.connection import Connection
from lb.connection_context import ConnectionContext
from lb.explain.decision import Decision
from lb.explain.explain import explain, otherwise
from lb.model import Server
from lb.pool import Pool

if TYPE_CHECKING:
    from lb.listener import Listener

__all__ = ["ExplainedConnection", "Sampler"]

GOLDEN_RATIO = 0.6180339887498949
"""Its fractional part: steps of this length around a circle spread most evenly (H. Weyl, 1916)."""
MOST_DECISIONS = 5
"""Picks kept for the record, the latest: a held connection may make many."""


class Sampler:
    """Makes a listener's connections, that part of them explained.

    Which ones is no matter of chance, but never in step with strategies that take turns, as each 100th would be.
    """

    def __init__(self, part: float) -> None:
        self._part = part
        self._place = 0.0
        """On a circle of length 1."""

    def __call__(
        self, context: ConnectionContext, listener: Listener, sock: socket.SocketType, client: Client
    ) -> Connection:
        self._place = (self._place + GOLDEN_RATIO) % 1
        kind = ExplainedConnection if self._place < self._part else Connection
        return kind(context, listener, sock, client)


class ExplainedConnection(Connection):
    """Asks before each pick what it will go by. All others never come here, so it costs them nothing."""

    __slots__ = ("_decisions",)

    def __init__(self, context: ConnectionContext, listener: Listener, sock: socket.SocketType, client: Client) -> None:
        super().__init__(context, listener, sock, client)
        self._decisions: deque[Decision] = deque(maxlen=MOST_DECISIONS)

    @property
    def decisions(self) -> tuple[Decision, ...]:  # type: ignore[override]  # a constant there
        return tuple(self._decisions)

    def start(self) -> None:
        if not isinstance(self._pool, _Witness):  # it has just come, or been routed to another pool
            self._pool = cast("Pool", _Witness(self._pool, self._decisions))
        super().start()


class _Witness:
    """A pool whose picks are written down. All else is the pool's own."""

    def __init__(self, pool: Pool, decisions: deque[Decision]) -> None:
        self._pool = pool
        self._decisions = decisions

    def pick(self, client: Client, tried: Collection[Server]) -> Backend | None:
        pool = self._pool
        foreseen = explain(pool, client, tried)
        backend = pool.pick(client, tried)
        if backend is None:
            decision = foreseen.choosing(None, otherwise(pool, tried))
        else:
            decision = foreseen.choosing(backend.name, "")
        self._decisions.append(decision.shortened())
        return backend

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a pool has
        return getattr(self._pool, name)
