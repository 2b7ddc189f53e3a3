"""The data plane of one process: listeners, splicer, deadlines and open connections."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

import trio

from healthcheck.state import Change
from lb.dataplane.host import Host
from lb.dataplane.plane import CommitChange
from lb.dataplane.stats import Counters, StatsSnapshot
from lb.dataplane.viewers import Watchers
from lb.events import Fault, Sink
from lb.model import Config, ListenerSpec, PoolSpec, ServerSpec
from lb.model.binds import BindingChanges, Place
from lb.model.connection import ConnectionFilter, LiveConnection
from lb.model.purge import Purge, Purged, StoredResponse
from lb.model.server import Count, LocalCount
from lb.model.timing import Timings
from lb.net.cooperate import in_turns
from lb.net.deadlines import Deadlines
from lb.net.own_addresses import OwnAddresses
from lb.net.sockets import ListeningSockets, Opened, close_all
from lb.pools.backend import Backend, new_backend
from lb.pools.outlier_detection import measure
from lb.pools.pool import Pool
from lb.pools.pool_set import Pools
from lb.pools.slow_start import RAMP_STEPS
from lb.proxy.context import ONLY_PROCESS, ConnectionContext, PurgeElsewhere, WorkerPlace
from lb.proxy.downstream import OpenConnection
from lb.proxy.listener import Listener, Pressure
from lb.proxy.source_limits import SourceLimits
from lb.relay.splicer import Acceptor
from lb.tls.store import tls_of

__all__ = ["LocalDataPlane"]

RAMP_PAUSE = (0.01, 1.0)
"""Minimum and maximum seconds between slow start steps. A guess: little work, and a reload takes effect soon."""


class LocalDataPlane:
    """Implements :class:`lb.dataplane.plane.DataPlane` within this process. The caller owns the pools.

    ``sockets``: the listening sockets. ``reserve``: descriptors that connections must not use. ``dedicated``: the
    process does nothing else, so its other tasks may wait a millisecond. ``host``: the interface to the machine.
    ``secret``: as :class:`lb.proxy.context.ConnectionContext` has it. The other parameters are for a worker: listener
    counters, connection ids, shared source limits, a function that makes the other workers recheck the backlogs, the
    worker's place among the others.
    """

    def __init__(
        self,
        pools: Pools,
        sink: Sink,
        *,
        sockets: ListeningSockets,
        reserve: int,
        dedicated: bool,
        host: Host = Host(),  # noqa: B008 - has no state
        new_count: Callable[[str], Count] = lambda _listener: LocalCount(),
        next_id: Callable[[], int] | None = None,
        source_limits: SourceLimits | None = None,
        wake_others: Callable[[], None] | None = None,
        place: WorkerPlace = ONLY_PROCESS,
        secret: bytes = b"",
    ) -> None:
        self.listeners: dict[str, Listener] = {}
        self._pools = pools
        self._sockets = sockets
        self._new_count = new_count
        self._nursery: trio.Nursery
        self._ramping: set[Pool] = set()
        self.descriptors = host.descriptors(reserve)
        self._deadlines = Deadlines(fault=self._fault)
        self._splicer = host.splicer(self.descriptors, self._fault, dedicated=dedicated)
        self._pressure = Pressure(self.descriptors, self._deadlines, sink, wake_others, place.worker)
        self._splicer.when_few_costly(self.recheck_backlog)
        self._context = ConnectionContext(
            splicer=self._splicer,
            descriptors=self.descriptors,
            deadlines=self._deadlines,
            disconnects=host.disconnects(self._fault),
            sink=sink,
            next_id=next_id,
            source_limits=source_limits,
            secret=secret,
            place=place,
        )
        self._sink, self._figures, self._closing = sink, Counters(), trio.Lock()
        self._watchers = Watchers(time.monotonic)

    def _fault(self, where: str, exception: Exception) -> None:
        self._sink(Fault(where, exception))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._context.disconnects.run)
            await self._nursery.start(self._splicer.run)
            self._nursery.start_soon(self._deadlines.run)
            task_status.started()

    @property
    def open_connections(self) -> int:
        return len(self._context.open)

    def new_backend(self, pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
        return new_backend(pool, server, now)

    # Change

    async def prepare(self, config: Config) -> None:
        """Prepare what takes time, while traffic continues. Raises OSError."""
        for spec in tls_of(config):
            await self._context.tls.make(spec)

    @asynccontextmanager
    async def change(
        self,
        config: Config,
        changes: BindingChanges,
        opened: Opened,
        *,
        at_start: bool,  # noqa: ARG002 - the pools are prepared already
    ) -> AsyncIterator[CommitChange]:
        await self.prepare(config)

        async def commit(left: Sequence[Backend]) -> None:
            self._context.is_counting = config.admin is not None
            self._context.is_debugging = config.log.level == "debug"
            self._watchers.configure(config)
            self._context.sink = self._sink if config.admin is None else self._counting(self._sink)
            self._context.note_connect = self._figures.note_connect
            self._context.note_forward = self._figures.note_forward
            closed = self._change_listeners(config, changes, opened)
            removed = self._sockets.change(changes, opened)
            self._context.tls.keep(tls_of(config))
            self._find_own_addresses()
            for backend in left:
                if backend.active:
                    self._nursery.start_soon(self._drain, backend)
            for pool in self._pools.by_name.values():
                self._ramp(pool)
                measure(pool.backends.values(), pool.spec.outlier)
                self._return_to_primaries(pool)
            await self._close(closed, removed)

        yield commit

    def _counting(self, sink: Sink) -> Sink:
        """Return a sink that counts what the admin endpoint tells, and passes events on."""
        return self._figures.observing(self._watchers.observing(sink))

    def _find_own_addresses(self) -> None:
        """The listening sockets have changed, or the servers: find servers that are listeners of this process."""
        sockets = (sock for by_address in self._sockets.by_place.values() for sock in by_address)
        self._context.own_addresses = own_addresses = OwnAddresses(sock.getsockname() for sock in sockets)
        for pool in self._pools.by_name.values():
            for backend in pool.backends.values():
                backend.own = own_addresses.among(backend.targets)

    def _ramp(self, pool: Pool) -> None:
        """Start the slow start task of a pool if it has servers in slow start."""
        if pool.ramp(trio.current_time()) and pool not in self._ramping:
            self._ramping.add(pool)
            self._nursery.start_soon(self._keep_ramping, pool)

    async def _keep_ramping(self, pool: Pool) -> None:
        least, most = RAMP_PAUSE
        ramping = True
        while ramping:
            await trio.sleep(min(max(least, pool.spec.slow_start / RAMP_STEPS), most))
            ramping = pool.ramp(trio.current_time())
        self._ramping.discard(pool)

    def _change_listeners(self, config: Config, changes: BindingChanges, opened: Opened) -> list[Acceptor]:
        """Update the listeners. A socket stays with its address, even if the listener's name changes.

        Return the acceptors of the addresses that were closed, see :meth:`_close`.
        """
        before = self.listeners
        self.listeners = {name: self._configured(spec) for name, spec in config.listeners.items()}
        for (name, address), giver in changes.moved:
            self.listeners[name].open(address, before[giver].hand_over(address))
        for (name, address), sockets in opened.items():
            self.listeners[name].open(address, sockets)
        return [acceptor for name, address in changes.closed for acceptor in before[name].close(address)]

    async def _close(self, acceptors: Iterable[Acceptor], sockets: Opened) -> None:
        """Accept the clients in the backlogs, in turns, then close the sockets. One change after the other."""
        try:
            async with self._closing:
                for acceptor in acceptors:
                    await acceptor.finish()
        finally:
            close_all(sockets)

    def _configured(self, spec: ListenerSpec) -> Listener:
        """Return the listener with this name, new or existing, with these settings."""
        pools = self._pools.by_name
        listener = self.listeners.get(spec.name)
        if listener is not None:
            listener.configure(spec, pools)
            return listener
        return Listener(
            spec,
            pools,
            pressure=self._pressure,
            context=self._context,
            count=self._new_count(spec.name),
        )

    async def _drain(self, backend: Backend) -> None:
        """Close the remaining connections to a removed server at its drain deadline."""
        await trio.sleep_until(backend.drain_deadline)
        if backend.leaving and trio.current_time() >= backend.drain_deadline:
            for connection in _oldest_first(each for each in self._context.open if each.backend is backend):
                connection.server_removed()

    def health_changed(self, pool: Pool, backend: Backend, change: Change | None) -> None:
        self._ramp(pool)
        if change is not None and change.new in ("down", "ejected") and pool.spec.on_down == "close":
            for connection in _oldest_first(each for each in self._context.open if each.server is backend):
                connection.close("server_down")
        self._return_to_primaries(pool)

    def _return_to_primaries(self, pool: Pool) -> None:
        """Apply ``on_return``."""
        if pool.spec.on_return == "close" and pool.primary_is_back():
            backups = {*pool.backends.values(), *pool.leaving.values()}
            for connection in _oldest_first(self._context.open):
                server = connection.server
                if server is not None and server.spec.backup and server in backups:
                    connection.close("primary_back")

    def resolved(self, pool: Pool, backend: Backend) -> None:  # noqa: ARG002 - the pools are used directly
        backend.own = self._context.own_addresses.among(backend.targets)

    async def overridden(self, pool: Pool, backend: Backend) -> None:  # noqa: ARG002 - the pool is up to date
        self._ramp(pool)

    def recheck_backlog(self) -> None:
        """Resume all listeners: other processes may have released resources, or left clients in the backlogs."""
        for listener in self.listeners.values():
            listener.resume()

    # Queries of the admin endpoint

    def active(self, listener: str) -> int:
        return self.listeners[listener].active

    async def stats(self) -> StatsSnapshot:
        stats = StatsSnapshot()
        stats.figures.add(self._figures)
        stats.figures.batches, stats.figures.edges = self._splicer.batches, self._splicer.edges
        stats.handshakes_waiting = self._splicer.costly_waiting
        stats.descriptors_used = self.descriptors.used / self.descriptors.limit
        stats.kept_connections = dict(self._context.kept_connections())
        stats.caches = self._context.caches.figures() if self._context.caches is not None else {}
        stats.watched = self._watchers.seen()
        listeners = self.listeners.values()
        stats.accepted = {listener.spec.name: listener.total for listener in listeners}
        backends = [(pool, backend) for pool in self._pools.by_name.values() for backend in pool.backends.values()]
        async for pool, backend in in_turns(backends):
            stats.leased[pool.name, backend.name] = backend.total
        async for connection in in_turns(list(self._context.open)):
            stats.figures.bytes_in += connection.bytes_in
            stats.figures.bytes_out += connection.bytes_out
        return stats

    async def timings(self, pool: str) -> Timings:
        known = self._pools.by_name.get(pool)
        backends = known.backends.items() if known is not None else ()
        return {name: backend.timing.take() for name, backend in backends if backend.timing is not None}

    async def live(self, only: ConnectionFilter) -> list[LiveConnection]:
        found: list[LiveConnection] = []
        async for connection in in_turns(_oldest_first(self._context.open)):
            live = connection.live()
            if only.fits(live):
                found.append(live)
                if len(found) == only.most:
                    break
        return found

    async def cut(self, only: ConnectionFilter) -> int:
        count = 0
        async for connection in in_turns(list(self._context.open)):
            if only.fits(connection.live()):
                connection.close("stopped")
                count += 1
        return count

    def purge_elsewhere_too(self, purge_elsewhere: PurgeElsewhere, is_purging: Callable[[], bool]) -> None:
        """Have other workers purge what clients of this one purge. ``is_purging``: not all of them may have done so."""
        self._context.purge_elsewhere, self._context.is_purging = purge_elsewhere, is_purging

    async def purge_here(self, zone: str, what: Purge) -> Purged:
        """Forget what matches in a cache of this process."""
        caches = self._context.caches
        return Purged() if caches is None else await caches.purge(zone, what)

    async def purge(self, zone: str, what: Purge) -> int:
        return (await self.purge_here(zone, what)).count

    async def stored(self, zone: str, key: bytes) -> list[StoredResponse]:
        caches = self._context.caches
        return [] if caches is None else await caches.stored(zone, key)

    # Stop

    async def stop_listening(self, elsewhere: Collection[Place] = ()) -> None:
        closed: list[Acceptor] = []
        for name, listener in self.listeners.items():
            for address in tuple(listener.bound):
                if (name, address) in elsewhere:
                    listener.leave(address)
                else:
                    closed += listener.close(address)
        await self._close(closed, self._sockets.remove_all())

    async def none_open(self) -> None:
        await self._context.none_open()

    async def end(self) -> None:
        await self.stop_listening()
        for connection in list(self._context.open):
            connection.close("stopped")


def _oldest_first(connections: Iterable[OpenConnection]) -> list[OpenConnection]:
    return sorted(connections, key=_by_id)


def _by_id(connection: OpenConnection) -> int:
    return connection.id
