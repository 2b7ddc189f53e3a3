"""The running balancer, which starts, reloads and stops all parts: :class:`Balancer`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio

from healthcheck.state import Change
from lb.control.bindings import Bindings, BoundNames
from lb.control.inherited import HealthSnapshots, Inherited, RuntimeState
from lb.control.monitor import ServerMonitor
from lb.control.outliers import Outliers
from lb.control.overrides import (
    Override,
    OverrideChange,
    Overrides,
    ServerPlace,
    changed,
    overridden,
    still_valid,
    weights,
)
from lb.control.plan import Plan, plan
from lb.control.planes import make_plane
from lb.control.readiness import Readiness
from lb.control.sharing import Sharing
from lb.dataplane.host import Host
from lb.dataplane.plane import DataPlane, DataPlaneError
from lb.discovery.known import Known, SourceKey
from lb.discovery.watcher import Discovery
from lb.events import (
    BackendOverridden,
    CachePurged,
    ConfigApplied,
    ConfigRejected,
    Event,
    Fault,
    ServerStopped,
    ServerStopping,
    Sink,
)
from lb.model import Config, PoolSpec, ServerSpec
from lb.model.address import Address, SocketAddress
from lb.model.binds import Place
from lb.model.purge import Purge
from lb.model.stream_status import MediaSnapshot
from lb.net.resolver import targets_of
from lb.net.sockets import Opened
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.pools.pool_set import Pools, new_servers
from lb.pools.turns_begin import turns_begin

if TYPE_CHECKING:
    from lb.control.media_processes import MediaProcesses

__all__ = ["Balancer", "StartError", "why_rejected"]


class StartError(Exception):
    """The balancer cannot start. The message is one line."""


class Balancer:
    """The balancer. Start it with ``await nursery.start(balancer.run, config)``; then :meth:`reload`, :meth:`stop`.

    It is the control plane: configuration, listening sockets, health. The data plane is this process or, with
    ``workers`` above 1, that many processes, whose log lines, one or more at a time, go to ``write(lines, count)``.
    ``inherited`` is the state of a predecessor, ``host`` the interface to the machine. ``node`` is the name of this
    balancer among others, whose turns begin elsewhere; without one they begin with the first server.
    ``dedicated``: the process does nothing else, so its other tasks may wait a millisecond for the traffic.
    """

    media: MediaProcesses | None = None
    """None: the configuration has never had any."""
    stop_begun = False
    """The balancer has been told to stop: it is not ready, though it may serve for ``stop_delay``."""
    stopping = False
    """The balancer is stopping and accepts no further change."""
    sharing: Sharing
    """What the cluster uses: servers whose checks its nodes share."""
    _nursery: trio.Nursery
    _discovery: Discovery
    _data_plane: DataPlane
    _monitor: ServerMonitor
    _outliers: Outliers

    def __init__(
        self,
        sink: Sink,
        *,
        dedicated: bool = False,
        workers: int = 1,
        write: Callable[[str, int], None] = lambda _lines, _count: None,
        inherited: Inherited = Inherited(),  # noqa: B008 - frozen
        host: Host = Host(),  # noqa: B008 - has no state
        node: str = "",
    ) -> None:
        self.config = Config()
        """The configuration in use, with discovered servers and overrides."""
        self.written = Config()
        """The configuration as written: without discovered servers and overrides."""
        self.overrides: Overrides = {}
        """Operator overrides, by server."""
        self._sink = sink
        self._dedicated = dedicated
        self._host = host
        self.workers = workers
        self._write = write
        self._bindings = Bindings(inherited, sink, host)
        self._inherited = inherited
        self._stands_in = not inherited.predecessor_serves  # for large tables, at the start
        self._snapshots: HealthSnapshots = {}
        self._turns_begin = turns_begin(node)
        self._pools = Pools(
            lambda name: Pool(name, sink, self._health_changed, self._make_backend, start=self._turns_begin)
        )
        self.sharing = Sharing()
        self._stopped = trio.Event()
        self.readiness = Readiness()
        self.changing = trio.Lock()
        self.overriding = trio.Lock()
        """Held during every change, this one during an override. Hold both to keep the configuration unchanged."""
        self._held: frozenset[ServerPlace] = frozenset()  # servers whose records have vanished
        self._tables_wanted = trio.Event()

    @property
    def secret(self) -> bytes:
        """For what clients bring back: TLS session tickets, sticky cookies. It stays over reloads and upgrades."""
        return self._inherited.secret

    @property
    def predecessor_serves(self) -> bool:
        """Another process serves until this one does."""
        return self._inherited.predecessor_serves

    @property
    def bound(self) -> BoundNames:
        """The bound addresses, by listener."""
        return self._bindings.bound

    def bound_of(self, listener: str) -> list[str]:
        """Return the bound addresses of a listener, as they are shown."""
        return [bind for binds in self.bound[listener].values() for bind in binds]

    @property
    def pools(self) -> dict[str, Pool]:
        return self._pools.by_name

    @property
    def shown_pools(self) -> dict[str, Pool]:
        """The pools but those of media: their servers are processes of the balancer."""
        internal = self.config.media.pools
        return {name: pool for name, pool in self.pools.items() if name not in internal}

    def _make_plane(self, config: Config) -> DataPlane:
        return make_plane(
            config,
            self._pools,
            self._sink,
            self._bindings.sockets,
            workers=self.workers,
            write=self._write,
            secret=self.secret,
            dedicated=self._dedicated,
            host=self._host,
            turns_begin=self._turns_begin,
        )

    async def run(self, config: Config, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped. Reports ``started`` when all listeners are bound.

        Raises StartError if an address cannot be bound, and any exception of a strategy's constructor.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._discovery = Discovery(nursery, self._sink)
            inherited = await self._inherited.runtime_state()
            await self._discovery.begin(config, inherited.sources)
            complete = self._discovery.complete(config)
            self._data_plane = self._make_plane(complete)
            self._monitor = ServerMonitor(
                nursery, self._sink, self._data_plane.resolved, self.readiness.changed, self._host, self.sharing
            )
            self._outliers = Outliers(nursery, self._sink, self._data_plane)
            await nursery.start(self._data_plane.run)
            self._inherit_overrides(inherited, complete)
            try:
                await self._change_to(config, self._inherited.runtime_state)
            except OSError as error:
                raise StartError(error.strerror or str(error)) from error
            except DataPlaneError as error:
                raise StartError(str(error)) from error
            self._monitor.end_ejections(self.pools)
            nursery.start_soon(self._keep_up)
            nursery.start_soon(self._keep_tables)
            task_status.started()
            await self._stopped.wait()
            self._bindings.release_all()
            await self._data_plane.end()
            self._bindings.announce_closed()
            nursery.cancel_scope.cancel()
        if self.media is not None:
            self.media.close()
        self._sink(ServerStopped())

    def _inherit_overrides(self, known: RuntimeState, complete: Config) -> None:
        """Take the predecessor's overrides. Those that a cluster has said before the start stay."""
        valid = known.overrides
        if complete.cluster is None:
            valid = still_valid(known.overrides, known.configured, weights(complete))
        self.overrides = {**valid, **self.overrides}

    def _make_backend(self, pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
        backend = self._data_plane.new_backend(pool, server, now)
        if (pool.name, server.name) in self._snapshots:
            backend.recall(self._snapshots[pool.name, server.name], now)
        return backend

    def _health_changed(self, pool: Pool, backend: Backend, change: Change | None) -> None:
        if change is not None:
            self._monitor.health_changed(pool, backend, change)
        self._data_plane.health_changed(pool, backend, change)
        self.readiness.changed()

    # Reload

    async def reload(self, config: Config) -> None:
        """Apply another configuration completely. If this raises, or a stop begins meanwhile, nothing changes.

        Raises OSError if an address cannot be bound, DataPlaneError if a worker cannot apply it, and any exception of a
        strategy's constructor.
        """
        async with self.changing:
            try:
                await self._discovery.begin(config)
                steps = await self._change_to(config)
                if steps is not None:
                    if self.media is not None:
                        await self.media.ask()  # an answer comes after the change: then all processes have applied it
                    self._sink(ConfigApplied(steps.added, steps.removed, steps.changed))
            finally:
                self._discovery.keep_to(self.written)

    def _in_force(self, written: Config, overrides: Overrides) -> Config:
        """Return a configuration with discovered servers and overrides. Servers whose records have vanished drain."""
        held = dict.fromkeys(self._discovery.held(written), Override(drained=True))
        return overridden(self._with_media(self._discovery.complete(written)), {**overrides, **held})

    def _with_media(self, config: Config) -> Config:
        """Return the configuration with the addresses of media processes."""
        if not config.media:
            return config
        from lb.control.media_processes import with_media_addresses  # noqa: PLC0415 - few balancers have any

        return with_media_addresses(config, self.secret)

    def _overrides_under(self, written: Config) -> Overrides:
        """Return the overrides that stay valid under a configuration. In a cluster they hold until they are revoked."""
        if written is self.written or written.cluster is not None:
            return self.overrides
        before, after = (weights(self._discovery.complete(each)) for each in (self.written, written))
        return still_valid(self.overrides, before, after)

    async def override(self, pool: str, server: str, change: OverrideChange, node: str | None = None) -> None:
        """Change the override of one server at once, also while a reload is under way, which then keeps it.

        ``node`` is the name of this node of a cluster. Waits for an upgrade only. Raises KeyError if there is no such
        server.
        """
        async with self.overriding:
            if self.stopping:
                return
            place = pool, server
            if place not in weights(self._discovery.complete(self.written)):
                raise KeyError(place)
            override = changed(self.overrides.get(place, Override()), change)
            await self._apply_overrides({**self.overrides, place: override}, {place: node})

    async def take_overrides(
        self, latest: Callable[[], Overrides], said_by: Callable[[ServerPlace], str | None]
    ) -> None:
        """Replace all overrides by those of a cluster, as fast as :meth:`override`.

        ``latest`` returns them, also those of servers that are not known here, ``said_by`` the node that said one.
        """
        async with self.overriding:
            after = latest()
            places = [place for place in {**self.overrides, **after} if self.overrides.get(place) != after.get(place)]
            if places and not self.stopping:
                await self._apply_overrides(after, dict(zip(places, map(said_by, places), strict=True)))

    async def _apply_overrides(self, overrides: Overrides, said_by: Mapping[ServerPlace, str | None]) -> None:
        """Use these overrides, of which those of ``said_by`` have changed."""
        self.overrides = {place: override for place, override in overrides.items() if override != Override()}
        for pair in self._override_servers(said_by):
            await self._data_plane.overridden(*pair)
        configured = weights(self._discovery.complete(self.written))
        for place, node in said_by.items():
            if place in configured:
                override = self.overrides.get(place, Override())
                self._sink(BackendOverridden(*place, override.drained, override.applied_to(configured[place]), node))

    async def purge(self, zone: str, what: Purge) -> int:
        """Purge a cache in all processes. Return the number of responses that were removed, once they are gone."""
        purged = await self._data_plane.purge(zone, what)
        self._sink(CachePurged(zone, what.kind, b" ".join(what.texts).decode(), purged))
        return purged

    def _override_servers(self, places: Collection[ServerPlace]) -> list[tuple[Pool, Backend]]:
        """Apply the overrides in force to servers. Returns the changed ones; the data plane does not know it yet."""
        if not places:
            return []
        in_force = self._in_force(self.written, self.overrides)
        specs = {(pool.name, spec.name): spec for pool in in_force.pools.values() for spec in pool.servers}
        changed = []
        for place in places:
            pool, backend = self._pools.find(*place)
            if pool is not None and backend is not None and specs.get(place, backend.spec) != backend.spec:
                pool.override(backend, specs[place], trio.current_time())
                self.config = attrs.evolve(self.config, pools={**self.config.pools, pool.name: pool.spec})
                changed.append((pool, backend))
        self._want_tables()
        self.readiness.changed()
        return changed

    def _want_tables(self) -> None:
        if self._pools.need_build:
            self._tables_wanted.set()

    async def _keep_tables(self) -> NoReturn:
        """Build the tables of pools that need them. The old ones, or stand-ins, serve meanwhile."""
        while True:
            await self._tables_wanted.wait()
            self._tables_wanted = trio.Event()
            await self._apply_again("tables")

    @property
    def data_plane(self) -> DataPlane:
        """The data plane. Available once the balancer has started."""
        return self._data_plane

    async def media_snapshot(self) -> MediaSnapshot:
        """Return what the media processes tell, within two seconds."""
        return MediaSnapshot() if self.media is None else await self.media.ask()

    @property
    def checks(self) -> dict[str, int]:
        """The number of health checks so far, by result."""
        return self._monitor.checks

    @property
    def late_checks(self) -> int:
        """The number of health checks that started more than a second late."""
        return self._monitor.late_checks

    @property
    def discovery_failures(self) -> dict[str, int]:
        """The number of failed discovery look-ups so far, by pool."""
        return self._discovery.failures

    def sources(self, pool: PoolSpec) -> dict[SourceKey, Known]:
        """What is known from each discovery source of a pool."""
        return self._discovery.known_of(pool)

    async def _keep_up(self) -> NoReturn:
        """Apply discovered servers as they arrive. Waits for a reload in progress."""
        while True:
            await self._discovery.news()
            await self._apply_again("discovery")

    async def _apply_again(self, where: str) -> None:
        """Apply the configuration again, with what has changed around it. Waits for a reload in progress.

        An error is reported, and changes nothing.
        """
        try:
            async with self.changing:
                before, self._held = self._held, self._discovery.held(self.written)
                steps = await self._change_to(self.written)
        except Exception as exception:  # noqa: BLE001 - as in a reload: report it and keep the old servers
            for event in why_rejected(where, exception):
                self._sink(event)
        else:
            if steps is not None:
                self._report_news(steps, quiet={f"{pool}/{server}" for pool, server in before ^ self._held})

    def _report_news(self, steps: Plan, quiet: Collection[str]) -> None:
        """Report what discovery has changed, but for servers that are ``quiet``: they drain now, or are back."""
        changed = tuple(name for name in steps.changed if name not in quiet)
        if steps.added or steps.removed or changed:
            self._sink(ConfigApplied(steps.added, steps.removed, changed))

    async def _change_to(
        self, written: Config, read_state: Callable[[], Awaitable[RuntimeState]] | None = None
    ) -> Plan | None:
        """Prepare all that takes time or can fail, while traffic continues; then apply the change at once.

        Returns None, without a change, if a stop has begun meanwhile.
        """
        overrides = self._overrides_under(written)
        config = self._in_force(written, overrides)
        at_start = read_state is not None and self._stands_in
        steps = plan(self.config, config)
        with ExitStack() as undo:
            opened = await self._bindings.open(config, steps.bindings, undo)
            prepared = await self._pools.prepare(config, at_start=at_start)
            targets = await self._resolve(new_servers(prepared))
            media = self._prepare_media(config)
            async with self._data_plane.change(config, steps.bindings, opened, at_start=at_start) as commit:
                state = await read_state() if read_state else RuntimeState()
                self._snapshots = state.snapshots
                if self.stopping:
                    return None
                undo.pop_all()
                left = self._pools.apply(prepared, targets, trio.current_time())
                self._monitor.stop_obsolete(self.pools)
                self._outliers.keep(self.pools)
                self._bindings.rebind(config, steps.bindings, opened)
                self._use(config, written, overrides)
                if media is not None:
                    media.apply(config.media, state.live_numbers)
                await commit(left)
        await self._monitor.start_missing(self.pools)
        self._bindings.announce_closed()
        return steps

    def _prepare_media(self, config: Config) -> MediaProcesses | None:
        """Listen for the media processes; None if there are none, and were none. Raises OSError."""
        if self.media is None and config.media:
            from lb.control.media_processes import MediaProcesses  # noqa: PLC0415 - few balancers have any

            self.media = MediaProcesses(self._nursery, self._sink, self.secret)
        if self.media is not None:
            self.media.prepare(config.media)
        return self.media

    def _use(self, config: Config, written: Config, prepared: Overrides) -> None:
        """Set the configuration in use. It was prepared with some overrides; apply those made since then."""
        latest = self._overrides_under(written)
        self.config, self.written, self.overrides = config, written, latest
        self._override_servers([place for place in {**prepared, **latest} if prepared.get(place) != latest.get(place)])
        self._want_tables()
        self.readiness.changed()

    async def _resolve(self, servers: Iterable[ServerSpec]) -> dict[Address, tuple[SocketAddress, ...]]:
        """Resolve the servers' addresses. Looks up only names that are new."""
        backends = (backend for pool in self.pools.values() for backend in pool.backends.values())
        known = {backend.spec.address: backend.targets for backend in backends if backend.spec.address.is_name}
        return await targets_of(servers, known)

    @property
    def open_connections(self) -> int:
        return self._data_plane.open_connections

    # State for a successor

    @property
    def listening(self) -> Opened:
        """The sockets of all listeners, by listener and address."""
        return self._bindings.sockets.by_place

    def runtime_state(self) -> RuntimeState:
        now = trio.current_time()
        places = [(pool.name, backend) for pool in self.pools.values() for backend in pool.backends.values()]
        snapshots = {(pool, backend.name): backend.memory(now) for pool, backend in places}
        live_numbers = {} if self.media is None else self.media.live_numbers()
        configured = weights(self._discovery.complete(self.written))
        return RuntimeState(snapshots, self.overrides, configured, live_numbers, self._discovery.as_json())

    def recheck_backlog(self) -> None:
        """Accept clients that a predecessor with the same sockets may have left in the backlogs."""
        self._data_plane.recheck_backlog()

    # Stop

    async def stop(self, signal: str) -> None:
        """Stop gracefully: serve for ``stop_delay``, stop listening, wait up to ``stop_timeout`` for open connections.

        Then close them.
        """
        if self.stop_begun:
            return
        self._stop_begins(signal)
        with trio.move_on_after(self.config.process.stop_delay):
            await self._stopped.wait()
        if not self._stopped.is_set():
            await self._close_listeners()
            await self.drain()

    async def succeeded(self, signal: str, elsewhere: Collection[Place]) -> None:
        """Stop listening. Sockets ``elsewhere`` belong to a successor, which accepts the clients in their backlogs."""
        self._stop_begins(signal)
        await self._close_listeners(elsewhere)

    def _stop_begins(self, signal: str) -> None:
        self.stop_begun = True
        self.readiness.changed()
        self._sink(ServerStopping(signal, self._data_plane.open_connections))

    async def _close_listeners(self, elsewhere: Collection[Place] = ()) -> None:
        self.stopping = True
        self._bindings.release_all(elsewhere)
        await self._data_plane.stop_listening(elsewhere)
        if self.media is not None:
            self.media.stop()
        self._bindings.announce_closed()

    async def drain(self) -> None:
        """Wait for open connections, then stop."""
        with trio.move_on_after(self.config.process.stop_timeout):
            await self._data_plane.none_open()
        self.stop_now()

    def stop_now(self) -> None:
        """Close all open connections and stop."""
        self.stopping = True
        self._stopped.set()


def why_rejected(where: str, exception: Exception) -> Iterator[Event]:
    """Yield the events to report for an exception of a change. ``where`` is the origin, for a :class:`Fault`."""
    match exception:
        case OSError():
            yield ConfigRejected((exception.strerror or str(exception),))
        case DataPlaneError():
            yield ConfigRejected((str(exception),))
        case _:  # a strategy rejects the new servers
            yield Fault(where, exception)
            yield ConfigRejected((f"{type(exception).__name__}: {exception}",))
