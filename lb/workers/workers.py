"""Several processes that carry the traffic, and what the supervisor tells them.

All listen on the same sockets: these are opened here, kept here, and passed on, so none is ever closed with clients in
its backlog, whatever becomes of a worker. Configurations reach all workers or none, in two steps. Servers are judged
here, by what all workers report.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

import trio

from healthcheck.mirror import Standing
from healthcheck.state import Change, Health
from lb.backend import Backend
from lb.binds import Place
from lb.carrier import CarrierError, Opened
from lb.carrier import Commit as CallToCommit
from lb.events import Sink, WorkerDied, WorkerStarted
from lb.model import Config, PoolSpec, ServerSpec
from lb.pool import Pool
from lb.pools import Pools
from lb.workers.board import SLOTS, Board
from lb.workers.channel import encode
from lb.workers.crew import Crew
from lb.workers.inquiry import Inquiry
from lb.workers.kept_sockets import KeptSockets
from lb.workers.messages import (
    Abandon,
    CloseAll,
    Commit,
    Connected,
    ConnectFailed,
    Judged,
    Lines,
    Prepare,
    Resolved,
    Start,
    StopListening,
)
from lb.workers.process import Answer, WorkerProcess
from lb.workers.slots import assign, names, server_name

__all__ = ["Workers"]

END_PATIENCE = 3.0
"""Seconds that workers have to end when all is to be closed."""


class Workers:
    """Implements :class:`lb.carrier.Carrier` with ``count`` processes. ``write(lines, count)`` takes their log.

    ``pools`` are those of the supervisor: they hold what is known of the servers, and nobody picks from them.
    """

    def __init__(self, count: int, pools: Pools, sink: Sink, write: Callable[[str, int], None]) -> None:
        self._count = count
        self._pools = pools
        self._sink = sink
        self._write = write
        self._board, self._board_fd = Board.create(count)
        self._nudges = [os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(count)]
        self._crew = Crew(count, self._board, self)
        self._config: Config | None = None
        self._slots: dict[str, int] = {}
        self._sockets = KeptSockets()
        self._changing = trio.Lock()
        self._serving: dict[int, WorkerProcess] = {}
        """Those that have the configuration, or wait for the first one."""
        self._inquiry = Inquiry(self._serving)
        self.survey, self.timings = self._inquiry.survey, self._inquiry.timings
        self.live, self.cut = self._inquiry.live, self._inquiry.cut
        self._first_news = trio.Event()
        """All are there to take the first configuration, or one is not."""
        self._failure = ""
        """Why a worker could not be started for the first configuration."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            task_status.started()
            await self._crew.run()
        finally:
            for fd in (self._board_fd, *self._nudges):
                os.close(fd)

    # What pools and listeners count

    def new_backend(self, pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
        """A server as the supervisor has it: judged here, counted in the workers."""
        count = self._board.count(self._slots[server_name(pool.name, server.name)])
        return Backend(spec=server, leases=count, health=Health(pool.health, pool.passive, now))

    @property
    def open_connections(self) -> int:
        return sum(map(self._board.total, self._listener_slots()))

    def active(self, listener: str) -> int:
        return self._board.total(self._slots[listener])

    @property
    def listening(self) -> Opened:
        return self._sockets.by_place

    def _listener_slots(self) -> list[int]:
        return [slot for name, slot in self._slots.items() if "/" not in name]

    # Change

    @asynccontextmanager
    async def change(self, config: Config, opened: Opened) -> AsyncIterator[CallToCommit]:
        async with self._changing:
            await self._all_there()
            workers = list(self._serving.values())
            before = self._slots
            in_use = names(self._config) if self._config else ()
            try:
                self._slots = assign(before, in_use, names(config), self._board.total, SLOTS)
            except ValueError as error:
                raise CarrierError(f"{error}: too many for several workers") from error
            committed = False

            async def commit(_left: Sequence[Backend]) -> None:
                nonlocal committed
                committed = True
                await self._commit(workers, config, opened)

            try:
                await self._prepare(workers, config, opened)
                yield commit
            finally:
                if not committed:
                    self._slots = before
                    self._tell(workers, Abandon())

    async def _all_there(self) -> None:
        """For the first configuration, wait for all; later, who is late gets it at its start."""
        if self._config is None:
            await self._first_news.wait()
            if self._failure:
                raise CarrierError(self._failure)

    async def _prepare(self, workers: Sequence[WorkerProcess], config: Config, opened: Opened) -> None:
        """Raises CarrierError if one cannot. Who dies meanwhile will start with whatever holds by then."""
        sockets = [sock.fileno() for each in opened.values() for sock in each]
        order = Prepare(config, self._slots, tuple((place, len(each)) for place, each in opened.items()))
        for worker, answer in self._order(workers, order, sockets):
            error = await answer.wait()
            if worker.ended and self._config is None:
                raise CarrierError(f"worker {worker.index} cannot start: {error}")
            if error and not worker.ended:
                raise CarrierError(f"worker {worker.index}: {error}")

    async def _commit(self, workers: Sequence[WorkerProcess], config: Config, opened: Opened) -> None:
        self._sockets.change(config, opened)
        self._config = config
        for worker, answer in self._order(workers, self._present()):
            await answer.wait()
            self._serves(worker)

    def _present(self) -> Commit:
        """What there is to say about servers now."""
        now = trio.current_time()
        standings, targets = {}, {}
        for pool in self._pools.by_name.values():
            for backend in pool.backends.values():
                standing = Standing.of(backend.health, now)
                if standing != Standing():
                    standings[pool.name, backend.name] = standing
                if backend.spec.address.is_name:
                    targets[backend.spec.address] = backend.targets
        return Commit(standings, targets)

    def _order(
        self, workers: Iterable[WorkerProcess], order: object, fds: Sequence[int] = ()
    ) -> list[tuple[WorkerProcess, Answer]]:
        message = encode(order)
        return [(worker, worker.order(type(order), message, fds)) for worker in workers]

    def _tell(self, workers: Iterable[WorkerProcess], news: object) -> None:
        message = encode(news)
        for worker in workers:
            worker.send(message)

    # The crew's master

    async def enlist(self, worker: WorkerProcess) -> None:
        """The first ones wait for the first configuration; others get the present one, and all sockets."""
        ((_, here),) = self._order([worker], Start(worker.index, self._count), [self._board_fd, *self._nudges])
        if await here.wait():
            return  # it has ended
        if self._config is None:
            self._serving[worker.index] = worker
            if len(self._serving) == self._count:
                self._first_news.set()
            return
        async with self._changing:
            try:
                await self._prepare([worker], self._config, self._sockets.by_place)
            except CarrierError as error:
                worker.kill(str(error))
                return
            if self._crew.replacing:
                self._serving[worker.index] = worker
                for _, answer in self._order([worker], self._present()):
                    await answer.wait()
                    self._serves(worker)

    def _serves(self, worker: WorkerProcess) -> None:
        if not (worker.served or worker.ended):
            worker.served = True
            self._sink(WorkerStarted(worker.index, worker.pid))

    def buried(self, worker: WorkerProcess) -> None:
        """What it counted is gone, and may be what others wait for."""
        lost = self._board.of_worker(worker.index, self._listener_slots())
        self._board.forget(worker.index, self._slots.values())
        self._serving.pop(worker.index, None)
        self._inquiry.buried(worker)
        self.silent()
        if self._config is None:
            self._give_up(f"worker {worker.index} cannot start: {worker.ended}")
        elif self._crew.replacing or (worker.served and not worker.ended_well):
            self._sink(WorkerDied(worker.index, worker.pid, worker.ended, lost))

    def silent(self) -> None:
        """Clients that the system gave it to accept may be waiting: the others shall look."""
        self.look_again()

    def look_again(self) -> None:
        for nudge in self._nudges:
            os.eventfd_write(nudge, 1)

    def not_started(self, index: int, reason: str) -> None:
        if self._config is None:
            self._give_up(f"worker {index} cannot start: {reason}")
        else:
            self._sink(WorkerDied(index, None, reason, 0))

    def _give_up(self, failure: str) -> None:
        self._crew.replacing = False
        self._failure = failure
        self._first_news.set()

    def received(self, message: object) -> None:
        match message:
            case Lines(text, count):
                self._write(text, count)
            case ConnectFailed(pool_name, server, error):
                pool, backend = self._pools.find(pool_name, server)
                if pool is not None and backend is not None:
                    state = backend.health.state
                    pool.connect_failed(backend, error, trio.current_time())
                    if backend.health.state == state and backend.health.success_matters_from < math.inf:
                        self.health_changed(pool, backend, None)  # a connect that works matters to all from now on
            case Connected(pool_name, server):
                pool, backend = self._pools.find(pool_name, server)
                if pool is not None and backend is not None:
                    pool.connected(backend, trio.current_time())

    # News of servers

    def health_changed(self, pool: Pool, backend: Backend, change: Change | None) -> None:  # noqa: ARG002 - workers act
        standing = Standing.of(backend.health, trio.current_time())
        self._tell(self._serving.values(), Judged(pool.name, backend.name, standing))

    def resolved(self, pool: Pool, backend: Backend) -> None:
        self._tell(self._serving.values(), Resolved(pool.name, backend.name, backend.targets))

    # Stop

    async def stop_listening(self, elsewhere: Collection[Place] = ()) -> None:
        """Workers without a connection end by themselves after that."""
        self._take_no_more()
        for _, answer in self._order(self._serving.values(), StopListening(frozenset(elsewhere))):
            await answer.wait()

    async def none_open(self) -> None:
        await self._crew.none_running()

    def _take_no_more(self) -> None:
        """Neither clients nor workers."""
        self._crew.replacing = False
        self._sockets.close()
        for worker in self._crew.running.values():
            if worker.index not in self._serving:
                worker.kill("stopped while it started")

    async def end(self) -> None:
        self._take_no_more()
        self._tell(self._serving.values(), CloseAll())
        with trio.move_on_after(END_PATIENCE):
            await self._crew.none_running()
        for worker in self._crew.running.values():
            worker.kill(f"did not end in {END_PATIENCE:g} s")
        await self._crew.none_running()
