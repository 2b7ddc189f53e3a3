"""The running balancer: everything put together, reloaded and stopped. One object, :class:`Balancer`."""

from __future__ import annotations

import socket
from collections.abc import Generator, Mapping
from contextlib import ExitStack, suppress
from typing import TypeVar

import trio

from lb.backend_tasks import BackendTasks
from lb.connection_context import ConnectionContext
from lb.deadlines import Deadlines
from lb.descriptors import Descriptors
from lb.events import ConfigApplied, Fault, ServerStopped, ServerStopping, Sink
from lb.listener import Listener, Pressure, open_sockets
from lb.model import Address, Config, ListenerSpec, SocketAddress
from lb.plan import Plan, plan
from lb.pool import Pool, Prepared
from lb.resolver import look_up, static_targets
from lb.splicer_factory import make_splicer

__all__ = ["Balancer", "StartError"]

Result = TypeVar("Result")
SLICE = 0.001
"""Seconds of building tables before traffic gets its turn."""


class StartError(Exception):
    """The balancer cannot start; the text says why, in one line."""


class Balancer:
    """A balancer: ``await nursery.start(balancer.run, config)``, then :meth:`reload` and :meth:`stop` at will.

    ``dedicated``: the process does nothing else, so its other tasks may wait a millisecond for the traffic.
    """

    def __init__(self, sink: Sink, *, dedicated: bool = False) -> None:
        self.config = Config()
        self.listeners: dict[str, Listener] = {}
        self.pools: dict[str, Pool] = {}
        self._sink = sink
        self._dedicated = dedicated
        self._deadlines = Deadlines(fault=self._fault)
        self._stopping = False
        self._stopped = trio.Event()
        self._reloading = trio.Lock()

    def _fault(self, where: str, exception: Exception) -> None:
        self._sink(Fault(where, exception))

    async def run(self, config: Config, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped. Started when it listens.

        Raises StartError if an address cannot be bound, and what a strategy raises that cannot be built.
        """
        servers = sum(len(pool.servers) for pool in config.pools.values())
        descriptors = Descriptors.of_process(reserve=64 + 2 * servers)
        self._splicer = make_splicer(descriptors, self._fault, dedicated=self._dedicated)
        self.context = ConnectionContext(splicer=self._splicer, deadlines=self._deadlines, sink=self._sink)
        self._pressure = Pressure(descriptors, self._deadlines, self._sink)
        async with trio.open_nursery() as nursery:
            self._tasks = BackendTasks(nursery, self.context, self._sink)
            await nursery.start(self._splicer.run)
            nursery.start_soon(self._deadlines.run)
            try:
                await self._change_to(config)
            except OSError as error:
                raise StartError(error.strerror or str(error)) from error
            task_status.started()
            await self._stopped.wait()
            nursery.cancel_scope.cancel()
        self._sink(ServerStopped())

    # Reload

    async def reload(self, config: Config) -> None:
        """Change to another configuration, wholly or, if it raises or a stop comes meanwhile, not at all.

        Raises OSError if an address cannot be bound, and what a strategy raises that cannot be built.
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
            moves = self._moves(config)
            opened = self._open_sockets(config, moves, undo)
            prepared = [(name, await self._prepare(name, config)) for name in config.pools]
            targets = await self._resolve(config)
            if self._stopping:
                return None
            undo.pop_all()
        now = trio.current_time()
        for name, (pool, built) in prepared:
            self.pools[name] = pool
            for backend in pool.apply(built, targets, now):
                self._tasks.drain(backend)
        self._apply_listeners(config, moves, opened)
        for name in [name for name in self.pools if name not in config.pools]:
            self._remove_pool(self.pools.pop(name), now)
        self._tasks.sync(self.pools)
        self.config = config
        return steps

    def _open_sockets(
        self, config: Config, moves: Mapping[tuple[str, Address], Listener], undo: ExitStack
    ) -> dict[tuple[str, Address], list[socket.socket]]:
        """Bind what no listener has bound yet."""
        opened: dict[tuple[str, Address], list[socket.socket]] = {}
        for name, spec in config.listeners.items():
            bound = self.listeners[name].bound if name in self.listeners else {}
            for address in spec.bind:
                if address not in bound and (name, address) not in moves:
                    opened[name, address] = open_sockets(address, spec.backlog)
                    for sock in opened[name, address]:
                        undo.enter_context(sock)
        return opened

    def _leaving(self, config: Config) -> list[tuple[Address, Listener]]:
        """The addresses that their listener does without in the new configuration."""
        return [
            (address, listener)
            for name, listener in self.listeners.items()
            for address in listener.bound
            if name not in config.listeners or address not in config.listeners[name].bind
        ]

    def _moves(self, config: Config) -> dict[tuple[str, Address], Listener]:
        """Who takes such an address over, sockets and all, and from whom."""
        leaving = self._leaving(config)
        moves: dict[tuple[str, Address], Listener] = {}
        for name, spec in config.listeners.items():
            bound = self.listeners[name].bound if name in self.listeners else {}
            for address in spec.bind:
                givers = [pair for pair in leaving if pair[0] == address and address not in bound]
                if givers:
                    leaving.remove(givers[0])
                    moves[name, address] = givers[0][1]
        return moves

    async def _prepare(self, name: str, config: Config) -> tuple[Pool, Prepared]:
        pool = self.pools.get(name) or Pool(name, self._sink, self._tasks.health_changed)
        return pool, await _in_slices(pool.prepare(config.pools[name]))

    async def _resolve(self, config: Config) -> dict[Address, tuple[SocketAddress, ...]]:
        """What all addresses resolve to. Only new names are looked up, all at once; one that fails is missing, and is
        tried again later by its server's task.
        """
        known = {
            backend.spec.address: backend.targets for pool in self.pools.values() for backend in pool.backends.values()
        }
        addresses = {server.address for pool in config.pools.values() for server in pool.servers}
        targets = {address: known.get(address) or static_targets(address) for address in addresses}

        async def look(address: Address) -> None:
            with suppress(OSError):
                targets[address] = await look_up(address)

        async with trio.open_nursery() as nursery:
            for address in addresses:
                if not targets[address]:
                    nursery.start_soon(look, address)
        return targets

    def _apply_listeners(
        self,
        config: Config,
        moves: Mapping[tuple[str, Address], Listener],
        opened: Mapping[tuple[str, Address], list[socket.socket]],
    ) -> None:
        """Sockets stay with their address, even when the listener's name changes; the others are closed last."""
        leaving = self._leaving(config)
        for name, spec in config.listeners.items():
            pool = self.pools[spec.pool]
            listener = self.listeners.get(name)
            if listener is None:
                listener = self._new_listener(spec, pool)
            else:
                listener.configure(spec, pool)
            for address in spec.bind:
                if (name, address) in opened:
                    listener.open(address, opened[name, address])
                elif (name, address) in moves:
                    listener.open(address, moves[name, address].hand_over(address))
            self.listeners[name] = listener
        for address, listener in leaving:
            if address in listener.bound:
                listener.close(address)
        self.listeners = {name: self.listeners[name] for name in config.listeners}

    def _new_listener(self, spec: ListenerSpec, pool: Pool) -> Listener:
        return Listener(
            spec,
            pool,
            splicer=self._splicer,
            deadlines=self._deadlines,
            pressure=self._pressure,
            context=self.context,
            sink=self._sink,
        )

    def _remove_pool(self, pool: Pool, now: float) -> None:
        for backend in pool.empty(now):
            self._tasks.drain(backend)

    # Stop

    async def stop(self, signal: str) -> None:
        """Stop listening, let open connections finish within ``stop_timeout``, then close them."""
        if self._stopping:
            return
        self._stopping = True
        self._sink(ServerStopping(signal, len(self.context.open)))
        self._stop_listening()
        with trio.move_on_after(self.config.process.stop_timeout):
            await self.context.none_open()
        self.stop_now()

    def stop_now(self) -> None:
        """Close what is open, and be done."""
        self._stop_listening()
        for connection in list(self.context.open):
            connection.close("stopped")
        self._stopped.set()

    def _stop_listening(self) -> None:
        for listener in self.listeners.values():
            listener.close(*tuple(listener.bound))


async def _in_slices(building: Generator[None, None, Result]) -> Result:
    """Drive a generator to its result; traffic gets its turn every millisecond."""
    turn_ends = trio.current_time() + SLICE
    while True:
        try:
            next(building)
        except StopIteration as done:
            result: Result = done.value
            return result
        if trio.current_time() >= turn_ends:
            await trio.lowlevel.checkpoint()
            turn_ends = trio.current_time() + SLICE
