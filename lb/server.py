"""The running balancer: everything put together, reloaded and stopped. One object, :class:`Balancer`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress

import trio

from healthcheck.state import Change
from lb.address import Address, SocketAddress
from lb.backend import Backend, new_backend
from lb.backend_tasks import BackendTasks
from lb.binds import Place, closing, missing, moves
from lb.carrier import Carrier, CarrierError, Opened
from lb.events import ConfigApplied, ListenerStarted, ListenerStopped, ServerStopped, ServerStopping, Sink
from lb.model import Config
from lb.plan import Plan, plan
from lb.pool import Pool
from lb.pools import Pools
from lb.resolver import all_static_targets, look_up
from lb.sockets import open_sockets, remove_file, socket_name
from lb.traffic import Traffic

__all__ = ["Balancer", "StartError"]


class StartError(Exception):
    """The balancer cannot start; the text says why, in one line."""


class Balancer:
    """A balancer: ``await nursery.start(balancer.run, config)``, then :meth:`reload` and :meth:`stop` at will.

    It decides: configuration, listening sockets, health. The traffic is carried by this process itself, or by
    ``workers``, whose log lines, one or several at a time, go to ``write(lines, count)``.
    ``dedicated``: the process does nothing else, so its other tasks may wait a millisecond for the traffic.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        dedicated: bool = False,
        workers: int = 1,
        write: Callable[[str, int], None] = lambda _lines, _count: None,
    ) -> None:
        self.config = Config()
        self.bound: dict[str, dict[Address, list[str]]] = {}
        """By listener and configured address: what was really bound, as text."""
        self._sink = sink
        self._dedicated = dedicated
        self._workers = workers
        self._write = write
        self._new_backend = new_backend
        self._pools = Pools(lambda name: Pool(name, sink, self._health_changed, self._new_backend))
        self._carrier: Carrier
        self._tasks: BackendTasks
        self._closing: list[ListenerStopped] = []
        """To be said once nobody listens there."""
        self._stopping = False
        self._stopped = trio.Event()
        self._reloading = trio.Lock()

    @property
    def pools(self) -> dict[str, Pool]:
        return self._pools.by_name

    async def run(self, config: Config, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped. Started when it listens.

        Raises StartError if an address cannot be bound, and what a strategy raises that cannot be built.
        """
        self._carrier = self._new_carrier(config)
        async with trio.open_nursery() as nursery:
            self._tasks = BackendTasks(nursery, self._sink, self._carrier.resolved)
            await nursery.start(self._carrier.run)
            try:
                await self._change_to(config)
            except OSError as error:
                raise StartError(error.strerror or str(error)) from error
            except CarrierError as error:
                raise StartError(str(error)) from error
            task_status.started()
            await self._stopped.wait()
            self._give_up_all()
            await self._carrier.end()
            self._say_closed()
            nursery.cancel_scope.cancel()
        self._sink(ServerStopped())

    def _new_carrier(self, config: Config) -> Carrier:
        if self._workers > 1:
            from lb.workers import Workers  # noqa: PLC0415 - one process does without

            workers = Workers(self._workers, self._pools, self._sink, self._write)
            self._new_backend = workers.new_backend
            return workers
        servers = sum(len(pool.servers) for pool in config.pools.values())
        return Traffic(self._pools, self._sink, reserve=64 + 2 * servers, dedicated=self._dedicated)

    def _health_changed(self, pool: Pool, backend: Backend, change: Change) -> None:
        self._tasks.health_changed(pool, backend, change)
        self._carrier.health_changed(pool, backend, change)

    # Reload

    async def reload(self, config: Config) -> None:
        """Change to another configuration, wholly or, if it raises or a stop comes meanwhile, not at all.

        Raises OSError if an address cannot be bound, CarrierError if a worker cannot, and what a strategy raises that
        cannot be built.
        """
        async with self._reloading:
            steps = await self._change_to(config)
        if steps is not None:
            self._sink(ConfigApplied(steps.added, steps.removed, steps.changed))

    async def _change_to(self, config: Config) -> Plan | None:
        """First everything that takes time or can fail, beside the traffic; then the change, in one go.

        None, and no change, if a stop came meanwhile.
        """
        steps = plan(self.config, config)
        with ExitStack() as undo:
            opened = self._open_sockets(config, undo)
            prepared = await self._pools.prepare(config)
            targets = await self._resolve(config)
            async with self._carrier.change(config, opened) as commit:
                if self._stopping:
                    return None
                undo.pop_all()
                left = self._pools.apply(prepared, targets, trio.current_time())
                self._tasks.let_go(self.pools)
                self._rebind(config, opened)
                self.config = config
                await commit(left)
        await self._tasks.take_on(self.pools)
        self._say_closed()
        return steps

    def _open_sockets(self, config: Config, undo: ExitStack) -> Opened:
        """Bind what no listener has bound yet."""
        opened = {}
        for name, address in missing(self.bound, config):
            opened[name, address] = open_sockets(address, config.listeners[name].backlog)
            for sock in opened[name, address]:
                undo.enter_context(sock)
        return opened

    def _rebind(self, config: Config, opened: Opened) -> None:
        """Bring ``bound`` up to date and say who has started."""
        taken = moves(self.bound, config)
        self._give_up(closing(self.bound, config))
        bound: dict[str, dict[Address, list[str]]] = {}
        for name, spec in config.listeners.items():
            bound[name] = {}
            for address in spec.bind:
                if (name, address) in opened:
                    names = [socket_name(sock) for sock in opened[name, address]]
                    for bind in names:
                        self._sink(ListenerStarted(name, bind))
                else:
                    names = self.bound[taken.get((name, address), name)][address]
                bound[name][address] = names
        self.bound = bound

    def _give_up(self, places: Collection[Place]) -> None:
        for name, address in places:
            remove_file(address)
            self._closing += (ListenerStopped(name, bind) for bind in self.bound[name][address])

    def _say_closed(self) -> None:
        closed, self._closing = self._closing, []
        for event in closed:
            self._sink(event)

    async def _resolve(self, config: Config) -> dict[Address, tuple[SocketAddress, ...]]:
        """What all addresses resolve to. Only new names are looked up, all at once; one that fails is missing, and is
        tried again later by its server's task.
        """
        known = {
            backend.spec.address: backend.targets for pool in self.pools.values() for backend in pool.backends.values()
        }
        targets = {
            address: known.get(address) or static for address, static in (await all_static_targets(config)).items()
        }

        async def look(address: Address) -> None:
            with suppress(OSError):
                targets[address] = await look_up(address)

        async with trio.open_nursery() as nursery:
            for address, known_targets in targets.items():
                if not known_targets:
                    nursery.start_soon(look, address)
        return targets

    # Stop

    async def stop(self, signal: str) -> None:
        """Stop listening, let open connections finish within ``stop_timeout``, then close them."""
        if self._stopping:
            return
        self._stopping = True
        self._sink(ServerStopping(signal, self._carrier.open_connections))
        self._give_up_all()
        await self._carrier.stop_listening()
        self._say_closed()
        with trio.move_on_after(self.config.process.stop_timeout):
            await self._carrier.none_open()
        self.stop_now()

    def stop_now(self) -> None:
        """Close what is open, and be done."""
        self._stopped.set()

    def _give_up_all(self) -> None:
        self._give_up([(name, address) for name, addresses in self.bound.items() for address in addresses])
        self.bound = {}
