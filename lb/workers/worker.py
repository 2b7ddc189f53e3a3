"""A worker process: data plane only, no decisions. Started by :mod:`lb.workers.fork_server`.

It listens on sockets from the supervisor, shares its counters with the other workers, and receives verdicts and
configurations as messages. It sends connect results and log lines to the supervisor.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import attrs
import trio

from healthcheck.mirror import HealthStatus, MirroredHealth, Use
from lb.dataplane.local import LocalDataPlane
from lb.events import Fault
from lb.log.lines import LineQueue
from lb.log.log import Log
from lb.model import Config, LogSpec, PoolSpec, ServerSpec
from lb.model.address import Address, SocketAddress
from lb.model.reuse import reused
from lb.model.server import Count
from lb.net.channel import Channel, encode
from lb.net.cooperate import keep_garbage_collection_short, keep_threads_short
from lb.net.resolver import all_static_targets
from lb.net.sockets import ListeningSockets, Opened, close_all, listening_socket
from lb.net.threads import Threads
from lb.pools.backend import Backend
from lb.pools.pool import Pool, Prepared
from lb.pools.pool_set import Pools, new_servers
from lb.pools.shared_pool import SharedPool
from lb.proxy.context import WorkerPlace
from lb.workers.messages import (
    ChangeServer,
    CloseAll,
    Commit,
    Done,
    HealthChanged,
    Lines,
    LookUp,
    Prepare,
    PurgedByAll,
    PurgedByOthers,
    PurgeKeys,
    Query,
    Resolved,
    Rollback,
    ServerFailed,
    ServerWorked,
    Start,
    StopListening,
)
from lb.workers.purges import OrderedPurges, OtherWorkers
from lb.workers.shared_counters import SharedCounters, queue_name, server_name
from lb.workers.wakeups import Wakeups

__all__ = ["LineSender", "run_worker"]

WORKER_RESERVE = 64
"""Descriptors reserved for listeners, reloads and the process itself."""
BEAT = 1.0
"""Seconds between heartbeats."""
WORKER_FLUSH_TIMEOUT = 1.0
"""Seconds to wait for the last log lines at exit."""


def run_worker(channel: int) -> int:
    """Run a worker in this process. Returns the exit code."""
    keep_threads_short()
    return trio.run(_work, socket.socket(fileno=channel))


async def _work(sock: socket.socket) -> int:
    channel = Channel(sock)
    code = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        received = await channel.receive()
        if received is not None:
            start, fds = received
            assert isinstance(start, Start)  # noqa: S101 - always the first message
            code = await Worker(channel, start, fds).run()
        nursery.cancel_scope.cancel()
    return code


@attrs.frozen
class Ready:
    """A prepared configuration that waits for the commit."""

    order: Prepare
    config: Config
    opened: Opened
    pools: list[tuple[Pool, Prepared | None]]
    targets: dict[Address, tuple[SocketAddress, ...]]


class Worker:
    """Executes the orders of the supervisor."""

    def __init__(self, channel: Channel, start: Start, fds: Sequence[int]) -> None:
        counters, *wakeups = fds
        self._channel = channel
        self._index = start.index
        self._turns_begin = start.turns_begin
        self._counters = SharedCounters.shared(counters, start.workers)
        self._wakeups = Wakeups(self._counters, start.index, wakeups)
        self._log = Log(LogSpec(), output=partial(LineSender, channel))
        self._pools = Pools(self._new_pool)
        self._others = OtherWorkers(start.index, self._send, self._fault)
        self._data_plane = LocalDataPlane(
            self._pools,
            self._log,
            sockets=ListeningSockets(),
            reserve=WORKER_RESERVE,
            dedicated=True,
            new_count=self._count,
            next_id=partial(self._counters.next_id, start.index),
            source_limits=self._counters.sources(start.index),
            wake_others=self._wakeups.wake_others,
            place=WorkerPlace(start.index, start.workers, str(os.fstat(counters).st_ino)),
            secret=start.secret,
        )
        self._purges = OrderedPurges(self._data_plane.purge_here, self._reply_purged)
        self._data_plane.purge_elsewhere_too(self._others.purge, self._is_purging)
        self._preparing = trio.CancelScope()
        self._thread = Threads(1)
        self._ready: Ready | None = None
        self._config = Config()
        """The configuration in use."""
        self._slots: dict[str, int] = {}
        self._statuses: dict[tuple[str, str], HealthStatus] = {}
        self._stop_timeout = 0.0
        self._fresh = True
        """No configuration has been applied yet."""
        self._finished = trio.Event()

    async def run(self) -> int:
        """Run until the supervisor ends it, or until it is gone and no connection is open. Returns the exit code."""
        try:
            async with trio.open_nursery() as nursery:
                for task in (self._log.run, self._beat, self._recheck_when_woken, self._purges.run):
                    nursery.start_soon(task)
                await nursery.start(self._data_plane.run)
                nursery.start_soon(self._handle_messages, nursery)
                self._reply(Start)
                await self._finished.wait()
                await self._data_plane.end()
                nursery.cancel_scope.cancel()
        except Exception as exception:  # noqa: BLE001 - logged, and the supervisor sees the exit code
            self._fault(exception)
            return 1
        else:
            return 0
        finally:
            self._log.flush()
            with trio.move_on_after(WORKER_FLUSH_TIMEOUT, shield=True):
                await self._channel.all_sent()

    def _send(self, message: object) -> None:
        self._channel.send(encode(message))

    def _fault(self, exception: Exception) -> None:
        self._log(Fault(f"worker {self._index}", exception))

    def _reply(self, order: type[object], error: str = "", answer: object = None) -> None:
        self._send(Done(order, error, answer))

    def _is_purging(self) -> bool:
        return self._others.are_purging or self._purges.are_unfinished

    def _reply_purged(self, order: type[object], purged: object) -> None:
        self._reply(order, answer=purged)

    async def _beat(self) -> NoReturn:
        while True:
            self._counters.beat(self._index)
            await trio.sleep(BEAT)

    async def _recheck_when_woken(self) -> NoReturn:
        while True:
            await self._wakeups.woken()
            self._data_plane.recheck_backlog()
            pools = [pool for pool in self._pools.by_name.values() if isinstance(pool, SharedPool)]
            for pool in pools:
                pool.queue_has_room()
            if not any(pool.holds for pool in pools):
                self._wakeups.over()

    # Orders

    async def _handle_messages(self, nursery: trio.Nursery) -> None:
        while (received := await self._channel.receive()) is not None:
            match received:
                case Prepare() as order, fds:
                    await nursery.start(self._prepare, order, fds)
                case Commit() as order, _:
                    await self._commit(order)
                case Rollback(), _:
                    self._rollback()
                case HealthChanged() | Resolved() as news, _:
                    self._apply_news(news)
                case ChangeServer() as order, _:
                    await self._change_server(order)
                    self._reply(ChangeServer)
                case Query() | LookUp() | PurgeKeys() | PurgedByOthers() | PurgedByAll() as message, _:
                    await self._handle_others(message)
                case StopListening(elsewhere), _:
                    await self._data_plane.stop_listening(elsewhere)
                    self._reply(StopListening)
                    nursery.start_soon(self._finish_when_idle)
                case CloseAll(), _:
                    self._finished.set()
        self._others.gone()  # the supervisor is gone
        await self._data_plane.stop_listening()
        with trio.move_on_after(self._stop_timeout):
            await self._finish_when_idle()
        self._finished.set()

    async def _handle_others(self, message: Query | LookUp | PurgeKeys | PurgedByOthers | PurgedByAll) -> None:
        """Handle what changes no configuration and no server."""
        match message:
            case Query():
                await self._answer_query(message)
            case LookUp(zone, key):
                self._reply(LookUp, answer=await self._data_plane.stored(zone, key))
            case PurgeKeys():
                await self._purges.order(message)
            case PurgedByOthers():
                self._others.purged(message)
            case PurgedByAll():
                self._purges.finished()

    async def _answer_query(self, query: Query) -> None:
        answer: object
        match query.about:
            case "stats":
                answer = await self._data_plane.stats()
            case "timings":
                answer = await self._data_plane.timings(query.only.pool or "")
            case "live":
                answer = await self._data_plane.live(query.only)
            case "cut":
                answer = await self._data_plane.cut(query.only)
        self._reply(Query, answer=answer)

    async def _finish_when_idle(self) -> None:
        """Finish once no connection is open."""
        await self._data_plane.none_open()
        self._finished.set()

    async def _prepare(self, order: Prepare, fds: Sequence[int], *, task_status: trio.TaskStatus[None]) -> None:
        """Prepare a configuration while other messages are handled: health changes must not wait for large tables."""
        sockets = iter(fds)
        opened = {
            place: [listening_socket(fd) for fd in itertools.islice(sockets, count)] for place, count in order.opened
        }
        error = "abandoned"
        with trio.CancelScope() as self._preparing:
            task_status.started()
            try:
                config = await self._thread.run(reused, order.config, self._config)
                await self._data_plane.prepare(config)
                pools = await self._pools.prepare(config, at_start=order.at_start)
                self._ready = Ready(order, config, opened, pools, await all_static_targets(new_servers(pools)))
                error = ""
            except Exception as exception:  # noqa: BLE001 - a strategy rejects the new servers; the old ones stay
                self._fault(exception)
                error = f"{type(exception).__name__}: {exception}"
        if error:
            close_all(opened)
        self._reply(Prepare, error)

    def _rollback(self) -> None:
        self._preparing.cancel()
        if self._ready is not None:
            close_all(self._ready.opened)
            self._ready = None

    async def _commit(self, order: Commit) -> None:
        ready, self._ready = self._ready, None
        assert ready is not None  # noqa: S101 - the supervisor waits for our reply to Prepare
        config = self._config = ready.config
        self._slots, self._statuses = ready.order.slots, order.statuses
        self._stop_timeout = config.process.stop_timeout
        self._log.configure(config.log)
        async with self._data_plane.change(config, ready.order.changes, ready.opened, at_start=False) as commit:
            left = self._pools.apply(ready.pools, {**ready.targets, **order.targets}, trio.current_time())
            for change in order.changed:
                await self._change_server(change)
            await commit(left)
        if self._fresh:
            self._fresh = False
            keep_garbage_collection_short()
        self._reply(Commit)

    def _apply_news(self, news: HealthChanged | Resolved) -> None:
        pool = self._pools.by_name.get(news.pool)
        if not isinstance(pool, SharedPool):
            return  # removed from the configuration
        if isinstance(news, HealthChanged):
            pool.judged(news.server, news.status, trio.current_time())
        elif news.server in pool.backends:
            backend = pool.backends[news.server]
            backend.targets = news.targets
            self._data_plane.resolved(pool, backend)

    async def _change_server(self, order: ChangeServer) -> None:
        pool, backend = self._pools.find(order.pool, order.server.name)
        if pool is not None and backend is not None:
            pool.override(backend, order.server, trio.current_time())
            await self._data_plane.overridden(pool, backend)

    # Parts of pools and listeners

    def _new_pool(self, name: str) -> SharedPool:
        start = (self._turns_begin + self._index / self._counters.workers) % 1.0
        changed = self._data_plane.health_changed
        return SharedPool(
            name,
            self._log,
            changed,
            self._new_backend,
            start=start,
            holding=self._wakeups,
            count_waiting=lambda: self._count(queue_name(name)),
        )

    def _new_backend(self, pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
        place = (pool.name, server.name)
        status = self._statuses.get(place, HealthStatus())
        health = MirroredHealth(status, now, partial(self._server_failed, *place), partial(self._server_worked, *place))
        return Backend(spec=server, leases=self._count(server_name(*place)), health=health)

    def _count(self, name: str) -> Count:
        return self._counters.count(self._slots[name], self._index)

    def _server_failed(self, pool: str, server: str, what: Use, error: str) -> None:
        self._send(ServerFailed(pool, server, what, error))

    def _server_worked(self, pool: str, server: str, what: Use) -> None:
        self._send(ServerWorked(pool, server, what))


class LineSender:
    """Implements :class:`lb.log.lines.LineOutput` over a channel. Queues a limited number of lines while it is full."""

    def __init__(self, channel: Channel, dropped: Callable[[int], None]) -> None:
        self._channel = channel
        self._dropped = dropped
        self._lines = LineQueue()
        self.write = self._lines.put

    async def run(self) -> None:
        while True:
            await self._lines.gather()
            self.flush()
            await self._channel.all_sent()
            self._lines.report_lost(self._dropped)

    def flush(self) -> None:
        count = len(self._lines)
        if count:
            self._channel.send(encode(Lines(self._lines.take().removesuffix("\n"), count)))
