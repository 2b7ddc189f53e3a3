"""A pool in one of several processes that share its traffic: counts are common, health is judged elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from typing import Protocol

from healthcheck.mirror import MirroredHealth, Standing
from healthcheck.state import Change
from lb.address import Address, Client, SocketAddress
from lb.backend import Backend, NewBackend
from lb.counts import Count
from lb.events import Sink
from lb.line import Waiter
from lb.model import PoolSpec, Server
from lb.pool import Changed, Pool, Prepared

__all__ = ["Holding", "SharedPool"]

LOOKS = 2
"""Servers whose count is looked at anew at each pick. Two keep the load of a few servers fresh and cost 1 µs."""
RACES = 3
"""Picks that may be lost to other processes until a connection has to wait or go. A guess: each takes microseconds."""


class Holding(Protocol):
    """How processes that hold connections for a server that is full hear that there is room."""

    def wait(self) -> None:
        """This process holds connections."""

    def tell(self) -> None:
        """There is room: make the others that hold connections look again."""

    def again(self) -> None:
        """Make this process look again, soon."""


class SharedPool(Pool):
    """What other processes do to its counts is not announced; it looks, a little at each pick.

    ``start`` is where in its list it begins, as a part of it. ``count_waiting()`` gives what those who wait count with,
    which must be known once the pool has a list.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        changed: Changed,
        new_backend: NewBackend,
        *,
        start: float,
        holding: Holding,
        count_waiting: Callable[[], Count],
    ) -> None:
        super().__init__(name, sink, changed, new_backend)
        self._start = start
        self._holding = holding
        self._count_waiting = count_waiting
        self._watched: list[Backend] = []
        """Those whose load matters, to the strategy or because it is limited."""
        self._seen: dict[Backend, int] = {}
        """Their loads, as last told."""
        self._next_look = 0

    def prepare(self, spec: PoolSpec) -> Generator[None, None, Prepared]:
        prepared = yield from super().prepare(spec)
        prepared.primary.start = prepared.backups.start = self._start
        return prepared

    def apply(
        self, prepared: Prepared, targets: Mapping[Address, tuple[SocketAddress, ...]], now: float
    ) -> list[Backend]:
        self._line.count = self._count_waiting()
        left = super().apply(prepared, targets, now)
        self._watched = [
            backend
            for backend in self.backends.values()
            if backend.spec.weight > 0 and (self._sorts_by_load or backend.spec.max_connections)
        ]
        self._seen = {backend: backend.active for backend in self._watched}
        return left

    # Leases

    def pick(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """As the other pools do; a lease that another process took first is given back, and the next server asked.

        If there is room again, those who wait come first.
        """
        if self._look(LOOKS):
            self._wake()
        for _ in range(RACES):
            backend = super().pick(client, tried)
            if backend is None:
                if not self._look_at_all():
                    return None
                self._wake()
            elif backend.spec.max_connections and backend.active > backend.spec.max_connections:
                backend.total -= 1
                self.release(backend)
                self._look_at_all()  # others may be as full
            else:
                return backend
        self._holding.again()  # there may be room: who waits from now on is to look
        return None

    def release(self, backend: Backend) -> None:
        """Who waits elsewhere is told of each lease that ends at a limited server.

        The count does not say whether it was full: others may have given leases back at the same moment.
        """
        super().release(backend)
        if backend.spec.max_connections:
            self._holding.tell()

    def _load_changed(self, backend: Backend) -> None:
        if backend in self._seen:
            self._seen[backend] = backend.active
        super()._load_changed(backend)

    def _look(self, count: int) -> bool:
        """Look at the next so many servers; True if the load of one that is limited was news."""
        news = False
        for _ in range(min(count, len(self._watched))):
            self._next_look = (self._next_look + 1) % len(self._watched)
            backend = self._watched[self._next_look]
            if self._seen[backend] != backend.active:
                self._load_changed(backend)
                news = news or backend.spec.max_connections > 0
        return news

    def _look_at_all(self) -> bool:
        return self._look(len(self._watched))

    # Health

    def judged(self, server: str, standing: Standing, now: float) -> None:
        """A verdict from where servers are judged."""
        backend = self.backends.get(server)
        if backend is not None:
            health = backend.health
            assert isinstance(health, MirroredHealth)  # noqa: S101 - a worker has no others
            change = health.judged(standing, now)
            self._heed(backend, now)
            self.note(backend, change, now)

    def _say(self, backend: Backend, change: Change) -> None:
        """It is said once, where it was decided."""

    def _say_advice(self, backend: Backend) -> None:
        """As well."""

    # Connections that wait for a server

    def wait(self, waiter: Waiter) -> None:
        super().wait(waiter)
        self._holding.wait()
        if self._look_at_all():
            self._holding.again()

    @property
    def holds(self) -> bool:
        """Connections wait here."""
        return bool(self._line)

    def look_again(self) -> None:
        """Another process says that there is room."""
        self._look_at_all()
        self._wake()
