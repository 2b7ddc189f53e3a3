"""All that is per connection, for one process: listeners, splicer, deadlines, and the connections that are open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

import trio

from healthcheck.state import Change
from lb.backend import Backend
from lb.binds import Place, closing, moves
from lb.carrier import Commit, Opened
from lb.connection import Connection
from lb.connection_context import ConnectionContext
from lb.counts import Count, LocalCount
from lb.events import Fault, Sink
from lb.figures import Figures, LiveConnection, Survey, Wanted
from lb.host import Host
from lb.listener import Listener, Pressure
from lb.model import Config, ListenerSpec
from lb.outlier import measure
from lb.pool import Pool
from lb.pools import Pools
from lb.slow_start import STEPS
from lb.sources import Sources
from lb.splicing.deadlines import Deadlines
from lb.timing import Timings
from lb.tls.store import tls_of
from lb.turns import in_turns

__all__ = ["Traffic"]

RAMP_PAUSE = (0.01, 1.0)
"""The least and the most seconds between two steps of a slow start. A guess: little work, and a reload shows soon."""


class Traffic:
    """Implements :class:`lb.carrier.Carrier` within this process, for pools that somebody else keeps.

    ``reserve``: descriptors that connections leave to others. ``dedicated``: the process does nothing else, so its
    other tasks may wait a millisecond. ``host``: where it runs. The rest is for a process that is one of several: what
    listeners count with, where ids come from, where sources are counted, how to make the others look at the backlogs,
    and its number.
    """

    def __init__(
        self,
        pools: Pools,
        sink: Sink,
        *,
        reserve: int,
        dedicated: bool,
        host: Host = Host(),  # noqa: B008 - has no state
        new_count: Callable[[str], Count] = lambda _listener: LocalCount(),
        next_id: Callable[[], int] | None = None,
        sources: Sources | None = None,
        others: Callable[[], None] | None = None,
        worker: int | None = None,
    ) -> None:
        self.listeners: dict[str, Listener] = {}
        self._pools = pools
        self._new_count = new_count
        self._nursery: trio.Nursery
        self._ramping: set[Pool] = set()
        descriptors = host.descriptors(reserve)
        self._deadlines = Deadlines(fault=self._fault)
        self._splicer = host.splicer(descriptors, self._fault, dedicated=dedicated)
        self._pressure = Pressure(descriptors, self._deadlines, sink, others, worker)
        self._context = ConnectionContext(
            splicer=self._splicer,
            deadlines=self._deadlines,
            departures=host.departures(self._fault),
            sink=sink,
            next_id=next_id,
            sources=sources,
        )
        self._sink = sink
        self._figures = Figures()

    def _fault(self, where: str, exception: Exception) -> None:
        self._sink(Fault(where, exception))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._context.run)
            await self._nursery.start(self._splicer.run)
            self._nursery.start_soon(self._deadlines.run)
            task_status.started()

    @property
    def open_connections(self) -> int:
        return len(self._context.open)

    @property
    def listening(self) -> Opened:
        return {
            (name, address): sockets
            for name, listener in self.listeners.items()
            for address, sockets in listener.bound.items()
        }

    # Change

    async def prepare(self, config: Config) -> None:
        """What takes time, beside the traffic. Raises OSError."""
        for spec in tls_of(config):
            await self._context.tls.make(spec)

    @asynccontextmanager
    async def change(self, config: Config, opened: Opened) -> AsyncIterator[Commit]:
        await self.prepare(config)

        async def commit(left: Sequence[Backend]) -> None:
            self._context.sink = self._sink if config.admin is None else self._figures.observing(self._sink)
            self._change_listeners(config, opened)
            self._context.tls.keep(tls_of(config))
            for backend in left:
                if backend.active:
                    self._nursery.start_soon(self._drain, backend)
            for pool in self._pools.by_name.values():
                self._ramp(pool)
                measure(pool.backends.values(), pool.spec.outlier)

        yield commit

    def _ramp(self, pool: Pool) -> None:
        """See to servers that start slowly, from now on until there are none."""
        if pool.ramp(trio.current_time()) and pool not in self._ramping:
            self._ramping.add(pool)
            self._nursery.start_soon(self._keep_ramping, pool)

    async def _keep_ramping(self, pool: Pool) -> None:
        least, most = RAMP_PAUSE
        ramping = True
        while ramping:
            await trio.sleep(min(max(least, pool.spec.slow_start / STEPS), most))
            ramping = pool.ramp(trio.current_time())
        self._ramping.discard(pool)

    def _change_listeners(self, config: Config, opened: Opened) -> None:
        """Sockets stay with their address, even when the listener's name changes; the others are closed last."""
        before = self.listeners
        bound = {name: tuple(listener.bound) for name, listener in before.items()}
        self.listeners = {name: self._configured(spec) for name, spec in config.listeners.items()}
        for (name, address), giver in moves(bound, config).items():
            self.listeners[name].open(address, before[giver].hand_over(address))
        for (name, address), sockets in opened.items():
            self.listeners[name].open(address, sockets)
        for name, address in closing(bound, config):
            before[name].close(address)

    def _configured(self, spec: ListenerSpec) -> Listener:
        """The listener of this name, with these settings."""
        pools = self._pools.by_name
        listener = self.listeners.get(spec.name)
        if listener is not None:
            listener.configure(spec, pools)
            return listener
        return Listener(
            spec,
            pools,
            splicer=self._splicer,
            deadlines=self._deadlines,
            pressure=self._pressure,
            context=self._context,
            count=self._new_count(spec.name),
        )

    async def _drain(self, backend: Backend) -> None:
        """The server has left the configuration: close what is still open to it when its time is over."""
        await trio.sleep_until(backend.drain_deadline)
        if backend.leaving and trio.current_time() >= backend.drain_deadline:
            for connection in _oldest_first(each for each in self._context.open if each.backend is backend):
                connection.server_removed()

    def health_changed(self, pool: Pool, backend: Backend, change: Change | None) -> None:
        self._ramp(pool)
        if change is not None and change.new in ("down", "ejected") and pool.spec.on_down == "close":
            for connection in _oldest_first(each for each in self._context.open if each.server is backend):
                connection.close("server_down")

    def resolved(self, pool: Pool, backend: Backend) -> None:
        """The pools are shared: who connects sees it."""

    def look_again(self) -> None:
        """Other processes have given back what this one may have waited for."""
        for listener in self.listeners.values():
            listener.resume()

    # Questions of the admin endpoint

    def active(self, listener: str) -> int:
        return self.listeners[listener].active

    async def survey(self) -> Survey:
        survey = Survey()
        survey.figures.add(self._figures)
        survey.figures.batches, survey.figures.edges = self._splicer.batches, self._splicer.edges
        listeners = self.listeners.values()
        survey.accepted = {listener.spec.name: listener.total for listener in listeners}
        backends = [(pool, backend) for pool in self._pools.by_name.values() for backend in pool.backends.values()]
        async for pool, backend in in_turns(backends):
            survey.leased[pool.name, backend.name] = backend.total
        async for connection in in_turns(list(self._context.open)):
            survey.figures.bytes_in += connection.bytes_in
            survey.figures.bytes_out += connection.bytes_out
        return survey

    async def timings(self, pool: str) -> Timings:
        known = self._pools.by_name.get(pool)
        backends = known.backends.items() if known is not None else ()
        return {name: backend.timing.take() for name, backend in backends if backend.timing is not None}

    async def live(self, wanted: Wanted) -> list[LiveConnection]:
        found: list[LiveConnection] = []
        async for connection in in_turns(_oldest_first(self._context.open)):
            live = connection.live()
            if wanted.fits(live):
                found.append(live)
                if len(found) == wanted.most:
                    break
        return found

    async def cut(self, wanted: Wanted) -> int:
        count = 0
        async for connection in in_turns(list(self._context.open)):
            if wanted.fits(connection.live()):
                connection.close("stopped")
                count += 1
        return count

    # Stop

    async def stop_listening(self, elsewhere: Collection[Place] = ()) -> None:
        for name, listener in self.listeners.items():
            for address in tuple(listener.bound):
                if (name, address) in elsewhere:
                    listener.leave(address)
                else:
                    listener.close(address)

    async def none_open(self) -> None:
        await self._context.none_open()

    async def end(self) -> None:
        await self.stop_listening()
        for connection in list(self._context.open):
            connection.close("stopped")


def _oldest_first(connections: Iterable[Connection]) -> list[Connection]:
    return sorted(connections, key=_by_id)


def _by_id(connection: Connection) -> int:
    return connection.id
