"""A pool in one of several workers: the counts are shared, and the supervisor judges the health of servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import cycle, islice
from typing import Protocol

from healthcheck.mirror import HealthStatus, MirroredHealth
from healthcheck.state import Change
from lb.events import Sink
from lb.model import Server, ServerSpec
from lb.model.address import Address, Client, SocketAddress
from lb.model.server import Count
from lb.pools.backend import Backend, NewBackend
from lb.pools.pool import Changed, Pool, Prepared
from lb.pools.wait_queue import Waiter

__all__ = ["Holding", "SharedPool"]

LOOKS = 2
"""Servers whose shared count is read again at each pick. Two keep the load of a few servers fresh and cost 1 µs."""
RACES = 3
"""Picks that a connection may lose to other workers before it queues or fails. An estimate; each takes microseconds."""


class Holding(Protocol):
    """Wakeups between workers that have queued connections, when a full server has room again."""

    def wait(self) -> None:
        """Register this worker: it has queued connections."""

    def tell(self) -> None:
        """Wake the other workers that have queued connections, as a server may have room."""

    def again(self) -> None:
        """Schedule another look by this worker, soon."""


class SharedPool(Pool):
    """A pool that shares its counts with other workers. It polls changes by others, a few servers at each pick.

    ``count_waiting()`` returns the shared count of queued connections. It must be available when the pool gets its
    first list.
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
        super().__init__(name, sink, changed, new_backend, start=start)
        self._holding = holding
        self._count_waiting = count_waiting
        self._watched: list[Backend] = []
        """Servers whose load matters to the strategy, or that have ``max_connections``."""
        self._seen: dict[Backend, int] = {}
        """The loads of the watched servers, as last reported to the strategy."""
        self._looks: Iterator[Backend] = iter(())
        """The watched servers in turn, without end."""

    def apply(
        self, prepared: Prepared, targets: Mapping[Address, tuple[SocketAddress, ...]], now: float
    ) -> list[Backend]:
        self._wait_queue.count = self._count_waiting()
        left = super().apply(prepared, targets, now)
        self._watch()
        return left

    def override(self, backend: Backend, spec: ServerSpec, now: float) -> None:
        super().override(backend, spec, now)
        self._watch()

    def _watch(self) -> None:
        """Choose the servers to poll."""
        self._watched = [
            backend
            for backend in self.backends.values()
            if backend.spec.weight > 0 and (self._sorts_by_load or backend.spec.max_connections)
        ]
        self._seen = {backend: backend.active for backend in self._watched}
        self._looks = cycle(self._watched)

    # Leases

    def pick(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """Choose a server as :class:`Pool` does. If another worker took the last lease, release it and pick again.

        If a server has room again, queued connections come first.
        """
        if self._watched and self._poll_loads(LOOKS):
            self._wake()
        for _ in range(RACES):
            backend = super().pick(client, tried)
            if backend is None:
                if not self._poll_all_loads():
                    return None
                self._wake()
            elif backend.spec.max_connections and self._over_limit(backend):
                self._poll_all_loads()  # other servers may be full as well
            else:
                return backend
        self._holding.again()  # a server may have room: let connections that queue now retry
        return None

    def pick_server(self, name: str, tried: Collection[Server]) -> Backend | None:
        """Lease a server as :class:`Pool` does, by its load in all workers."""
        named = self.backends.get(name)
        if named in self._seen and self._seen[named] != named.leases.total:
            self._load_changed(named)
            self._wake()
        backend = super().pick_server(name, tried)
        if backend is not None and backend.spec.max_connections and self._over_limit(backend):
            return None
        return backend

    def _over_limit(self, backend: Backend) -> bool:
        """Release a lease and return True if another worker took the last one at the same time."""
        if backend.active <= backend.spec.max_connections:
            return False
        backend.total -= 1
        self.release(backend)
        return True

    def release(self, backend: Backend) -> None:
        """Release a lease, and wake other workers if the server has ``max_connections``.

        The count does not show whether the server was full: others may have released leases at the same moment.
        """
        super().release(backend)
        if backend.spec.max_connections:
            self._holding.tell()

    def _load_changed(self, backend: Backend) -> None:
        if backend in self._seen:
            self._seen[backend] = backend.leases.total
        super()._load_changed(backend)

    def _poll_loads(self, count: int) -> bool:
        """Read the counts of the next ``count`` servers; True if the load of one with ``max_connections`` changed."""
        changed = False
        for backend in islice(self._looks, min(count, len(self._watched))):
            if self._seen[backend] != backend.leases.total:
                self._load_changed(backend)
                changed = changed or backend.spec.max_connections > 0
        return changed

    def _poll_all_loads(self) -> bool:
        return self._poll_loads(len(self._watched))

    # Health

    def judged(self, server: str, status: HealthStatus, now: float) -> None:
        """Apply a verdict of the supervisor."""
        backend = self.backends.get(server)
        if backend is not None:
            health = backend.health
            assert isinstance(health, MirroredHealth)  # noqa: S101 - a worker has no other kind
            change = health.judged(status, now)
            self._apply_advice(backend, now)
            self.note(backend, change, now)

    def _emit_change(self, backend: Backend, change: Change) -> None:
        """Emit nothing: the supervisor emits the event."""

    def _emit_advice(self, backend: Backend) -> None:
        """Emit nothing: the supervisor emits the event."""

    # Queued connections

    def enqueue(self, waiter: Waiter) -> bool:
        queued = super().enqueue(waiter)
        if queued:
            self._look_for_room()
        return queued

    def wait(self, waiter: Waiter) -> None:
        super().wait(waiter)
        self._look_for_room()

    def _look_for_room(self) -> None:
        self._holding.wait()
        if self._poll_all_loads():
            self._holding.again()

    @property
    def holds(self) -> bool:
        """True if this worker has queued connections."""
        return bool(self._wait_queue)

    def queue_has_room(self) -> None:
        """Let queued connections retry, as another worker reports room."""
        self._poll_all_loads()
        self._wake()
