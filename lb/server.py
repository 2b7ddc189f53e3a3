"""The running balancer: everything put together, reloaded and stopped. One object, :class:`Balancer`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import ExitStack
from typing import NoReturn

import trio

from healthcheck.state import Change
from lb.address import Address, SocketAddress
from lb.backend import Backend, new_backend
from lb.backend_tasks import BackendTasks
from lb.binds import Place
from lb.carrier import Carrier, CarrierError, Opened
from lb.discovery.discovery import Discovery
from lb.events import (
    BackendOverridden,
    ConfigApplied,
    ServerStopped,
    ServerStopping,
    Sink,
)
from lb.host import Host
from lb.listening import Bound, Listening
from lb.model import Config, PoolSpec, ServerSpec
from lb.outliers import Outliers
from lb.overrides import Override, Overrides, ServerPlace, overridden, still_valid, weights
from lb.plan import Plan, plan
from lb.pool import Pool
from lb.pools import Pools, new_servers
from lb.rejection import why_rejected
from lb.resolver import targets_of
from lb.service.handover import Knowledge, Memories
from lb.service.heritage import Heritage
from lb.traffic import Traffic

__all__ = ["Balancer", "StartError"]


class StartError(Exception):
    """The balancer cannot start; the text says why, in one line."""


class Balancer:
    """A balancer: ``await nursery.start(balancer.run, config)``, then :meth:`reload` and :meth:`stop` at will.

    It decides: configuration, listening sockets, health. The traffic is carried by this process itself, or by
    ``workers``, whose log lines, one or several at a time, go to ``write(lines, count)``.
    ``heritage`` is what it begins with, ``host`` where it runs.
    ``dedicated``: the process does nothing else, so its other tasks may wait a millisecond for the traffic.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        dedicated: bool = False,
        workers: int = 1,
        write: Callable[[str, int], None] = lambda _lines, _count: None,
        heritage: Heritage = Heritage(),  # noqa: B008 - frozen
        host: Host = Host(),  # noqa: B008 - has no state
    ) -> None:
        self.config = Config()
        """In use, with the servers that were found."""
        self.written = Config()
        """The same as it was given: without them, and without what an operator has said of single servers."""
        self.overrides: dict[ServerPlace, Override] = {}
        """What that is."""
        self._sink = sink
        self._dedicated = dedicated
        self._host = host
        self.workers = workers
        self._write = write
        self._listening = Listening(heritage, sink, host)
        self._ask = heritage.knowledge
        self._memories: Memories = {}
        self._new_backend = new_backend
        self._pools = Pools(lambda name: Pool(name, sink, self._health_changed, self._make_backend))
        self._discovery: Discovery
        self._carrier: Carrier
        self._tasks: BackendTasks
        self._outliers: Outliers
        self.stopping = False
        """Nothing is changed any more."""
        self._stopped = trio.Event()
        self.changing = trio.Lock()
        """Held while something of the above changes; who holds it keeps it as it is."""

    @property
    def bound(self) -> Bound:
        """Where it listens."""
        return self._listening.bound

    @property
    def pools(self) -> dict[str, Pool]:
        return self._pools.by_name

    async def run(self, config: Config, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped. Started when it listens.

        Raises StartError if an address cannot be bound, and what a strategy raises that cannot be built.
        """
        async with trio.open_nursery() as nursery:
            self._discovery = Discovery(nursery, self._sink)
            await self._discovery.begin(config)
            complete = self._discovery.complete(config)
            self._carrier = self._new_carrier(complete)
            self._tasks = BackendTasks(nursery, self._sink, self._carrier.resolved, self._host)
            self._outliers = Outliers(nursery, self._sink, self._carrier)
            await nursery.start(self._carrier.run)
            known = await self._ask()
            self.overrides = still_valid(known.overrides, known.configured, weights(complete))
            try:
                await self._change_to(overridden(complete, self.overrides), self._ask)
            except OSError as error:
                raise StartError(error.strerror or str(error)) from error
            except CarrierError as error:
                raise StartError(str(error)) from error
            self.written = config
            self._tasks.end_ejections(self.pools)
            nursery.start_soon(self._keep_up)
            task_status.started()
            await self._stopped.wait()
            self._listening.give_up_all()
            await self._carrier.end()
            self._listening.say_closed()
            nursery.cancel_scope.cancel()
        self._sink(ServerStopped())

    def _new_carrier(self, config: Config) -> Carrier:
        if self.workers > 1:
            from lb.workers.workers import Workers  # noqa: PLC0415 - one process does without

            workers = Workers(self.workers, self._pools, self._sink, self._write)
            self._new_backend = workers.new_backend
            return workers
        servers = sum(len(pool.servers) for pool in config.pools.values())
        reserve = 64 + 2 * servers
        return Traffic(self._pools, self._sink, reserve=reserve, dedicated=self._dedicated, host=self._host)

    def _make_backend(self, pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
        backend = self._new_backend(pool, server, now)
        if (pool.name, server.name) in self._memories:
            backend.recall(self._memories[pool.name, server.name], now)
        return backend

    def _health_changed(self, pool: Pool, backend: Backend, change: Change | None) -> None:
        if change is not None:
            self._tasks.health_changed(pool, backend, change)
        self._carrier.health_changed(pool, backend, change)

    # Reload

    async def reload(self, config: Config) -> None:
        """Change to another configuration, wholly or, if it raises or a stop comes meanwhile, not at all.

        Raises OSError if an address cannot be bound, CarrierError if a worker cannot, and what a strategy raises that
        cannot be built.
        """
        async with self.changing:
            try:
                await self._discovery.begin(config)
                before, complete = self._discovery.complete(self.written), self._discovery.complete(config)
                overrides = still_valid(self.overrides, weights(before), weights(complete))
                steps = await self._change_to(overridden(complete, overrides))
                if steps is not None:
                    self.written, self.overrides = config, overrides
                    self._sink(ConfigApplied(steps.added, steps.removed, steps.changed))
            finally:
                self._discovery.keep_to(self.written)

    def _in_force(self, overrides: Overrides) -> Config:
        return overridden(self._discovery.complete(self.written), overrides)

    async def override(self, pool: str, server: str, say: Callable[[Override], Override]) -> None:
        """Say something else of one server than before, from now on; as of a reload, nothing else changes.

        Raises KeyError if there is no such server, and what :meth:`reload` raises.
        """
        async with self.changing:
            configured = self._discovery.complete(self.written)
            weight = weights(configured)[pool, server]
            said = say(self.overrides.get((pool, server), Override()))
            others = {place: each for place, each in self.overrides.items() if place != (pool, server)}
            overrides = others if said == Override() else {**others, (pool, server): said}
            if await self._change_to(overridden(configured, overrides)) is not None:
                self.overrides = overrides
                self._sink(BackendOverridden(pool, server, said.drained, said.applied_to(weight)))

    @property
    def carrier(self) -> Carrier:
        """What carries the traffic. Once the balancer has started."""
        return self._carrier

    @property
    def checks(self) -> dict[str, int]:
        """Active checks made so far, by result."""
        return self._tasks.checks

    @property
    def discovery_failures(self) -> dict[str, int]:
        """Looks for servers that failed so far, by pool."""
        return self._discovery.failures

    async def _keep_up(self) -> NoReturn:
        """Change to what is found, as it comes; a reload under way comes first."""
        while True:
            await self._discovery.news()
            try:
                async with self.changing:
                    steps = await self._change_to(self._in_force(self.overrides))
            except Exception as exception:  # noqa: BLE001 - what stops one change, as it stops a reload: the old set stays
                for event in why_rejected("discovery", exception):
                    self._sink(event)
            else:
                if steps is not None and not steps.is_empty:
                    self._sink(ConfigApplied(steps.added, steps.removed, steps.changed))

    async def _change_to(self, config: Config, ask: Callable[[], Awaitable[Knowledge]] | None = None) -> Plan | None:
        """First everything that takes time or can fail, beside the traffic; then the change, in one go.

        None, and no change, if a stop came meanwhile.
        """
        steps = plan(self.config, config)
        with ExitStack() as undo:
            opened = self._listening.open(config, undo)
            prepared = await self._pools.prepare(config)
            targets = await self._resolve(new_servers(prepared))
            async with self._carrier.change(config, opened) as commit:
                self._memories = (await ask()).memories if ask else {}
                if self.stopping:
                    return None
                undo.pop_all()
                left = self._pools.apply(prepared, targets, trio.current_time())
                self._tasks.let_go(self.pools)
                self._outliers.keep(self.pools)
                self._listening.rebind(config, opened)
                self.config = config
                await commit(left)
        await self._tasks.take_on(self.pools)
        self._listening.say_closed()
        return steps

    async def _resolve(self, servers: Iterable[ServerSpec]) -> dict[Address, tuple[SocketAddress, ...]]:
        """What their addresses resolve to; of names those that are new are looked up."""
        known = {
            backend.spec.address: backend.targets for pool in self.pools.values() for backend in pool.backends.values()
        }
        return await targets_of(servers, known)

    @property
    def open_connections(self) -> int:
        return self._carrier.open_connections

    # What a successor needs

    @property
    def listening(self) -> Opened:
        return self._carrier.listening

    def knowledge(self) -> Knowledge:
        now = trio.current_time()
        places = [(pool.name, backend) for pool in self.pools.values() for backend in pool.backends.values()]
        memories = {(pool, backend.name): backend.memory(now) for pool, backend in places}
        return Knowledge(memories, self.overrides, weights(self._discovery.complete(self.written)))

    def look_again(self) -> None:
        """A process that had the same sockets accepts nobody any more; it may have left clients in the backlogs."""
        self._carrier.look_again()

    # Stop

    async def stop(self, signal: str) -> None:
        """Stop listening, let open connections finish within ``stop_timeout``, then close them."""
        if not self.stopping:
            await self.stop_listening(signal)
            await self.drain()

    async def stop_listening(self, signal: str, elsewhere: Collection[Place] = ()) -> None:
        """The first half. Sockets that another process has taken over are left to it, with who waits there."""
        self.stopping = True
        self._sink(ServerStopping(signal, self._carrier.open_connections))
        self._listening.give_up_all(elsewhere)
        await self._carrier.stop_listening(elsewhere)
        self._listening.say_closed()

    async def drain(self) -> None:
        """The second half."""
        with trio.move_on_after(self.config.process.stop_timeout):
            await self._carrier.none_open()
        self.stop_now()

    def stop_now(self) -> None:
        """Close what is open, and be done."""
        self._stopped.set()
