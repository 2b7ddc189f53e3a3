"""The data plane of several worker processes, as the supervisor controls it.

All workers listen on the same sockets. The supervisor opens and keeps them, so no socket is closed with clients in its
backlog if a worker dies. A configuration reaches all workers or none, in two phases. The supervisor decides the health
of servers from the reports of all workers.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

import trio

from healthcheck.mirror import HealthStatus, Use
from healthcheck.state import Change, Health
from lb.dataplane.plane import CommitChange, DataPlaneError
from lb.events import Sink, WorkerDied, WorkerStarted
from lb.model import Config, PoolSpec, ServerSpec
from lb.model.binds import BindingChanges, Place
from lb.net.channel import encode
from lb.net.descriptors import Descriptors
from lb.net.sockets import ListeningSockets, Opened, close_all
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.pools.pool_set import Pools
from lb.workers.messages import (
    ChangeServer,
    CloseAll,
    Commit,
    HealthChanged,
    Lines,
    Prepare,
    PurgedByOthers,
    PurgeOthers,
    Resolved,
    Rollback,
    ServerFailed,
    ServerWorked,
    Start,
    StopListening,
)
from lb.workers.process import Reply, WorkerProcess
from lb.workers.queries import Queries
from lb.workers.shared_counters import SLOTS, SharedCounters, assign, names, server_name
from lb.workers.supervisor import Supervisor

__all__ = ["Workers"]

END_PATIENCE = 3.0
"""Seconds that workers get to exit after CloseAll."""

RESERVED = 64
"""Descriptors reserved for workers, checks and reloads; the supervisor has no other connections than the admin's."""


class Workers:
    """Implements :class:`lb.dataplane.plane.DataPlane` with ``count`` processes.

    ``write(lines, count)`` receives their log lines. ``pools`` are those of the supervisor: they hold the state of
    servers; no server is picked from them. ``secret`` is for cookies and TLS session tickets of all of them,
    ``turns_begin`` where the turns of the first begin.
    """

    def __init__(
        self,
        count: int,
        pools: Pools,
        sink: Sink,
        write: Callable[[str, int], None],
        sockets: ListeningSockets,
        secret: bytes,
        turns_begin: float,
    ) -> None:
        self.descriptors = Descriptors.of_process(reserve=RESERVED)
        self._count = count
        self._pools = pools
        self._sink = sink
        self._write = write
        self._counters, self._counters_fd = SharedCounters.create(count)
        self._secret = secret
        self._turns_begin = turns_begin
        self._wakeups = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(count)]
        self._supervisor = Supervisor(count, self._counters, self)
        self._config: Config | None = None
        self._slots: dict[str, int] = {}
        self._sockets = sockets
        self._changing = trio.Lock()
        self._serving: dict[int, WorkerProcess] = {}
        """Workers that have the configuration, or wait for the first one."""
        self._queries = Queries(self._serving)
        self.stats, self.timings = self._queries.stats, self._queries.timings
        self.live, self.cut = self._queries.live, self._queries.cut
        self.purge, self.stored = self._queries.purge, self._queries.stored
        self._nursery: trio.Nursery
        self._startup_decided = trio.Event()
        """Set when all workers are ready for the first configuration, or one has failed."""
        self._failure = ""
        """Why a worker could not start for the first configuration."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await self._supervisor.run()
                self._nursery.cancel_scope.cancel()
        finally:
            for fd in (self._counters_fd, *self._wakeups):
                os.close(fd)

    # Counters of pools and listeners

    def new_backend(self, pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
        """Return a server of the supervisor: its health is decided here, its connections are counted in the workers."""
        count = self._counters.count(self._slots[server_name(pool.name, server.name)])
        return Backend(spec=server, leases=count, health=Health(pool.health, pool.passive, now))

    @property
    def open_connections(self) -> int:
        return sum(map(self._counters.total, self._listener_slots()))

    def active(self, listener: str) -> int:
        return self._counters.total(self._slots[listener])

    def _listener_slots(self) -> list[int]:
        return [slot for name, slot in self._slots.items() if "/" not in name]

    # Change

    @asynccontextmanager
    async def change(
        self, config: Config, changes: BindingChanges, opened: Opened, *, at_start: bool
    ) -> AsyncIterator[CommitChange]:
        async with self._changing:
            await self._wait_for_start()
            workers = list(self._serving.values())
            before = self._slots
            in_use = names(self._config) if self._config else ()
            try:
                self._slots = assign(before, in_use, names(config), self._counters.total, SLOTS)
            except ValueError as error:
                raise DataPlaneError(f"{error}: too many for several workers") from error
            committed = False

            async def commit(_left: Sequence[Backend]) -> None:
                nonlocal committed
                committed = True
                await self._commit(workers, config, changes, opened)

            try:
                await self._prepare(workers, config, changes, opened, at_start=at_start)
                yield commit
            finally:
                if not committed:
                    self._slots = before
                    self._send_all(workers, Rollback())

    async def _wait_for_start(self) -> None:
        """Wait for all workers before the first configuration. Later, workers get the configuration at their start."""
        if self._config is None:
            await self._startup_decided.wait()
            if self._failure:
                raise DataPlaneError(self._failure)

    async def _prepare(
        self,
        workers: Sequence[WorkerProcess],
        config: Config,
        changes: BindingChanges,
        opened: Opened,
        *,
        at_start: bool = False,
    ) -> None:
        """Raises DataPlaneError if a worker fails. If one dies, its replacement gets the current configuration."""
        sockets = [sock.fileno() for each in opened.values() for sock in each]
        counts = tuple((place, len(each)) for place, each in opened.items())
        order = Prepare(config, self._slots, changes, counts, at_start)
        for worker, answer in self._order(workers, order, sockets):
            error = await answer.wait()
            if worker.ended and self._config is None:
                raise DataPlaneError(f"worker {worker.index} cannot start: {error}")
            if error and not worker.ended:
                raise DataPlaneError(f"worker {worker.index}: {error}")

    async def _commit(
        self, workers: Sequence[WorkerProcess], config: Config, changes: BindingChanges, opened: Opened
    ) -> None:
        close_all(self._sockets.change(changes, opened))  # first: so a worker closes it last, with an empty backlog
        self._config = config
        for worker, answer in self._order(workers, self._current_state()):
            await answer.wait()
            self._mark_serving(worker)

    def _current_state(self) -> Commit:
        """Return the current state of all servers."""
        now = trio.current_time()
        statuses, targets, changed = {}, {}, []
        pools = self._config.pools if self._config is not None else {}
        prepared = {(pool.name, server.name): server for pool in pools.values() for server in pool.servers}
        for pool in self._pools.by_name.values():
            oldest = min((backend.since for backend in pool.backends.values()), default=now)
            for backend in pool.backends.values():
                age = now - backend.since if backend.since > oldest else math.inf
                status = HealthStatus.of(backend.health, now, age)
                if status != HealthStatus():
                    statuses[pool.name, backend.name] = status
                if backend.spec.address.is_name:
                    targets[backend.spec.address] = backend.targets
                spec = prepared[pool.name, backend.name]
                if backend.spec is not spec and backend.spec != spec:
                    changed.append(ChangeServer(pool.name, backend.spec))
        return Commit(statuses, targets, tuple(changed))

    def _order(
        self, workers: Iterable[WorkerProcess], order: object, fds: Sequence[int] = ()
    ) -> list[tuple[WorkerProcess, Reply]]:
        message = encode(order)
        return [(worker, worker.order(type(order), message, fds)) for worker in workers]

    def _send_all(self, workers: Iterable[WorkerProcess], content: object) -> None:
        message = encode(content)
        for worker in workers:
            worker.send(message)

    # Callbacks of the supervisor

    async def worker_started(self, worker: WorkerProcess) -> None:
        """Send a worker the current configuration and all sockets, or wait for the first configuration."""
        start = Start(worker.index, self._count, self._secret, self._turns_begin)
        ((_, reply),) = self._order([worker], start, [self._counters_fd, *self._wakeups])
        if await reply.wait():
            return  # it has exited
        if self._config is None:
            self._serving[worker.index] = worker
            if len(self._serving) == self._count:
                self._startup_decided.set()
            return
        async with self._changing:
            try:
                opened = self._sockets.by_place
                await self._prepare([worker], self._config, BindingChanges(opened=tuple(opened)), opened)
            except DataPlaneError as error:
                worker.kill(str(error))
                return
            if self._supervisor.replacing:
                self._serving[worker.index] = worker
                for _, answer in self._order([worker], self._current_state()):
                    await answer.wait()
                    self._mark_serving(worker)

    def _mark_serving(self, worker: WorkerProcess) -> None:
        if not (worker.served or worker.ended):
            worker.served = True
            self._sink(WorkerStarted(worker.index, worker.pid))

    def worker_ended(self, worker: WorkerProcess) -> None:
        """Clear its counts, and wake the other workers: they may wait for what it held."""
        lost = self._counters.of_worker(worker.index, self._listener_slots())
        self._counters.forget(worker.index, self._slots.values())
        self._serving.pop(worker.index, None)
        self._queries.worker_ended(worker)
        self.worker_silent()
        if self._config is None:
            self._give_up(f"worker {worker.index} cannot start: {worker.ended}")
        elif self._supervisor.replacing or (worker.served and not worker.ended_well):
            self._sink(WorkerDied(worker.index, worker.pid, worker.ended, lost))

    def worker_silent(self) -> None:
        """Make the others check the backlogs: the kernel may have notified only this worker of clients."""
        self.recheck_backlog()

    def recheck_backlog(self) -> None:
        for wakeup in self._wakeups:
            os.eventfd_write(wakeup, 1)

    def start_failed(self, index: int, reason: str) -> None:
        if self._config is None:
            self._give_up(f"worker {index} cannot start: {reason}")
        else:
            self._sink(WorkerDied(index, None, reason, 0))

    def _give_up(self, failure: str) -> None:
        self._supervisor.replacing = False
        self._failure = failure
        self._startup_decided.set()

    def received(self, message: object) -> None:
        match message:
            case Lines(text, count):
                self._write(text, count)
            case PurgeOthers() as asked:
                self._nursery.start_soon(self._purge_others, asked)
            case ServerFailed(pool_name, server, what, error):
                pool, backend = self._pools.find(pool_name, server)
                if pool is not None and backend is not None:
                    self._server_failed(pool, backend, what, error)
            case ServerWorked(pool_name, server, what):
                pool, backend = self._pools.find(pool_name, server)
                if pool is not None and backend is not None:
                    worked = pool.connected if what == "connect" else pool.request_succeeded
                    worked(backend, trio.current_time())

    async def _purge_others(self, asked: PurgeOthers) -> None:
        """Make the other workers purge what a client of one has caused."""
        sender = self._serving.get(asked.worker)  # its successor would have the same number
        purged = await self._queries.purge_all(asked.order, asked.worker)
        if sender is not None:
            self._send_all([sender], PurgedByOthers(type(asked.order), purged))

    def _server_failed(self, pool: Pool, backend: Backend, what: Use, error: str) -> None:
        state = backend.health.state
        failed = pool.connect_failed if what == "connect" else pool.request_failed
        failed(backend, error, trio.current_time())
        if backend.health.state == state and backend.health.success_matters_from < math.inf:
            self.health_changed(pool, backend, None)  # from now on workers must report successes

    # Changes of servers

    def health_changed(self, pool: Pool, backend: Backend, change: Change | None) -> None:  # noqa: ARG002 - workers act
        now = trio.current_time()
        status = HealthStatus.of(backend.health, now, now - backend.since)
        self._send_all(self._serving.values(), HealthChanged(pool.name, backend.name, status))

    def resolved(self, pool: Pool, backend: Backend) -> None:
        self._send_all(self._serving.values(), Resolved(pool.name, backend.name, backend.targets))

    async def overridden(self, pool: Pool, backend: Backend) -> None:
        for _, answer in self._order(self._serving.values(), ChangeServer(pool.name, backend.spec)):
            await answer.wait()

    # Stop

    async def stop_listening(self, elsewhere: Collection[Place] = ()) -> None:
        """Stop listening. Workers without a connection then exit by themselves."""
        self._refuse_new()
        for _, answer in self._order(self._serving.values(), StopListening(frozenset(elsewhere))):
            await answer.wait()

    async def none_open(self) -> None:
        await self._supervisor.none_running()

    def _refuse_new(self) -> None:
        """Close the listening sockets and start no further workers."""
        self._supervisor.replacing = False
        close_all(self._sockets.remove_all())
        for worker in self._supervisor.running.values():
            if worker.index not in self._serving:
                worker.kill("stopped during startup")

    async def end(self) -> None:
        self._refuse_new()
        self._send_all(self._serving.values(), CloseAll())
        with trio.move_on_after(END_PATIENCE):
            await self._supervisor.none_running()
        for worker in self._supervisor.running.values():
            worker.kill(f"did not end in {END_PATIENCE:g} s")
        await self._supervisor.none_running()
