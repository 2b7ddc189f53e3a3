"""A process that carries traffic, and decides nothing: ``python -m lb.workers.worker INDEX DESCRIPTOR``.

Started by :mod:`lb.workers.workers`.

It listens on the sockets that the supervisor sends, shares its counts with the other workers, and takes verdicts and
plans as messages. What it finds out about servers, and its log, goes the other way.
"""

from __future__ import annotations

import itertools
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import attrs
import trio

from healthcheck.mirror import MirroredHealth, Standing
from lb.address import Address, SocketAddress
from lb.backend import Backend
from lb.carrier import Opened
from lb.counts import Count
from lb.events import Fault
from lb.log import Log
from lb.model import LogSpec, PoolSpec, ServerSpec
from lb.pool import Pool, Prepared
from lb.pools import Pools, new_servers
from lb.resolver import all_static_targets
from lb.sockets import close_all, listening_socket
from lb.stalls import keep_garbage_collection_short, keep_threads_short
from lb.traffic import Traffic
from lb.workers.board import Board
from lb.workers.channel import Channel, encode
from lb.workers.line_sender import LineSender
from lb.workers.messages import (
    SIGNALS,
    Abandon,
    Ask,
    CloseAll,
    Commit,
    Connected,
    ConnectFailed,
    Done,
    Judged,
    Prepare,
    Resolved,
    Start,
    StopListening,
)
from lb.workers.nudges import Nudges
from lb.workers.shared_pool import SharedPool
from lb.workers.slots import queue_name, server_name

__all__ = ["main"]

RESERVE = 64
"""Descriptors that connections leave to listeners, reloads and the process itself."""
BEAT = 1.0
"""Seconds between signs of life."""
LAST_CHANCE = 1.0
"""Seconds that the last lines of the log may take at exit."""


def main() -> None:
    """The whole life of a worker."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    keep_threads_short()
    sock = socket.socket(fileno=int(sys.argv[2]))
    sys.exit(trio.run(_work, sock))


async def _work(sock: socket.socket) -> int:
    channel = Channel(sock)
    code = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run)
        received = await channel.receive()
        if received is not None:
            start, fds = received
            assert isinstance(start, Start)  # noqa: S101 - so it begins
            code = await Worker(channel, start, fds).run()
        nursery.cancel_scope.cancel()
    return code


@attrs.frozen
class Ready:
    """What was prepared, and waits for the commit."""

    order: Prepare
    opened: Opened
    pools: list[tuple[Pool, Prepared | None]]
    targets: dict[Address, tuple[SocketAddress, ...]]


class Worker:
    """Obeys the channel."""

    def __init__(self, channel: Channel, start: Start, fds: Sequence[int]) -> None:
        board, *nudges = fds
        self._channel = channel
        self._index = start.index
        self._board = Board.shared(board, start.workers)
        self._nudges = Nudges(self._board, start.index, nudges)
        self._log = Log(LogSpec(), output=partial(LineSender, channel))
        self._pools = Pools(self._new_pool)
        self._traffic = Traffic(
            self._pools,
            self._log,
            reserve=RESERVE,
            dedicated=True,
            new_count=self._count,
            next_id=partial(self._board.next_id, start.index),
            sources=self._board.sources(start.index),
            others=self._nudges.tell_all,
            worker=start.index,
        )
        self._preparing = trio.CancelScope()
        self._ready: Ready | None = None
        self._slots: dict[str, int] = {}
        self._standings: dict[tuple[str, str], Standing] = {}
        self._stop_timeout = 0.0
        self._fresh = True
        """No configuration yet."""
        self._over = trio.Event()

    async def run(self) -> int:
        """Until the supervisor says so, or is gone and the last connection has ended. Returns the exit code."""
        try:
            async with trio.open_nursery() as nursery:
                for task in (self._log.run, self._beat, self._look_when_nudged):
                    nursery.start_soon(task)
                await nursery.start(self._traffic.run)
                nursery.start_soon(self._obey, nursery)
                self._answer(Start)
                await self._over.wait()
                await self._traffic.end()
                nursery.cancel_scope.cancel()
        except Exception as exception:  # noqa: BLE001 - it is said in the log, and the exit code tells the supervisor
            self._log(Fault(f"worker {self._index}", exception))
            return 1
        else:
            return 0
        finally:
            self._log.flush()
            with trio.move_on_after(LAST_CHANCE, shield=True):
                await self._channel.all_sent()

    def _answer(self, order: type[object], error: str = "") -> None:
        self._channel.send(encode(Done(order, error)))

    async def _beat(self) -> NoReturn:
        while True:
            self._board.beat(self._index)
            await trio.sleep(BEAT)

    async def _look_when_nudged(self) -> NoReturn:
        while True:
            await self._nudges.nudged()
            self._traffic.look_again()
            pools = [pool for pool in self._pools.by_name.values() if isinstance(pool, SharedPool)]
            for pool in pools:
                pool.look_again()
            if not any(pool.holds for pool in pools):
                self._nudges.over()

    # Orders

    async def _obey(self, nursery: trio.Nursery) -> None:
        while (received := await self._channel.receive()) is not None:
            match received:
                case Prepare() as order, fds:
                    await nursery.start(self._prepare, order, fds)
                case Commit() as order, _:
                    await self._commit(order)
                case Abandon(), _:
                    self._abandon()
                case Judged() | Resolved() as news, _:
                    self._heed(news)
                case Ask() as question, _:
                    await self._inform(question)
                case StopListening(elsewhere), _:
                    await self._traffic.stop_listening(elsewhere)
                    self._answer(StopListening)
                    nursery.start_soon(self._leave)
                case CloseAll(), _:
                    self._over.set()
        await self._traffic.stop_listening()  # the supervisor is gone
        with trio.move_on_after(self._stop_timeout):
            await self._leave()
        self._over.set()

    async def _inform(self, question: Ask) -> None:
        answer: object
        match question.about:
            case "survey":
                answer = await self._traffic.survey()
            case "timings":
                answer = await self._traffic.timings(question.wanted.pool or "")
            case "live":
                answer = await self._traffic.live(question.wanted)
            case "cut":
                answer = await self._traffic.cut(question.wanted)
        self._channel.send(encode(Done(Ask, "", answer)))

    async def _leave(self) -> None:
        """End once no connection is open."""
        await self._traffic.none_open()
        self._over.set()

    async def _prepare(self, order: Prepare, fds: Sequence[int], *, task_status: trio.TaskStatus[None]) -> None:
        """Beside the traffic, and beside other messages: news of servers cannot wait for large tables."""
        sockets = iter(fds)
        opened = {
            place: [listening_socket(fd) for fd in itertools.islice(sockets, count)] for place, count in order.opened
        }
        error = "abandoned"
        with trio.CancelScope() as self._preparing:
            task_status.started()
            try:
                await self._traffic.prepare(order.config)
                pools = await self._pools.prepare(order.config)
                self._ready = Ready(order, opened, pools, await all_static_targets(new_servers(pools)))
                error = ""
            except Exception as exception:  # noqa: BLE001 - a strategy that cannot take the new list; the old one stays
                self._log(Fault(f"worker {self._index}", exception))
                error = f"{type(exception).__name__}: {exception}"
        if error:
            close_all(opened)
        self._answer(Prepare, error)

    def _abandon(self) -> None:
        self._preparing.cancel()
        if self._ready is not None:
            close_all(self._ready.opened)
            self._ready = None

    async def _commit(self, order: Commit) -> None:
        ready, self._ready = self._ready, None
        assert ready is not None  # noqa: S101 - the supervisor has had our word for it
        config = ready.order.config
        self._slots, self._standings = ready.order.slots, order.standings
        self._stop_timeout = config.process.stop_timeout
        self._log.configure(config.log)
        async with self._traffic.change(config, ready.opened) as commit:
            await commit(self._pools.apply(ready.pools, {**ready.targets, **order.targets}, trio.current_time()))
        if self._fresh:
            self._fresh = False
            keep_garbage_collection_short()
        self._answer(Commit)

    def _heed(self, news: Judged | Resolved) -> None:
        pool = self._pools.by_name.get(news.pool)
        if not isinstance(pool, SharedPool):
            return  # it has left the configuration
        if isinstance(news, Judged):
            pool.judged(news.server, news.standing, trio.current_time())
        elif news.server in pool.backends:
            pool.backends[news.server].targets = news.targets

    # What pools and listeners are made of

    def _new_pool(self, name: str) -> SharedPool:
        start = self._index / self._board.workers
        changed = self._traffic.health_changed
        return SharedPool(
            name,
            self._log,
            changed,
            self._new_backend,
            start=start,
            holding=self._nudges,
            count_waiting=lambda: self._count(queue_name(name)),
        )

    def _new_backend(self, pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
        place = (pool.name, server.name)
        standing = self._standings.get(place, Standing())
        health = MirroredHealth(standing, now, partial(self._connect_failed, *place), partial(self._connected, *place))
        return Backend(spec=server, leases=self._count(server_name(*place)), health=health)

    def _count(self, name: str) -> Count:
        return self._board.count(self._slots[name], self._index)

    def _connect_failed(self, pool: str, server: str, error: str) -> None:
        self._channel.send(encode(ConnectFailed(pool, server, error)))

    def _connected(self, pool: str, server: str) -> None:
        self._channel.send(encode(Connected(pool, server)))


if __name__ == "__main__":
    main()
