"""A pool at run time: its servers, who of them is available, and the lease that each connection holds on one.

Pure decisions: time is passed in, and what happened is told through a sink.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from typing import TypeAlias

import attrs

import strategies.registry
from healthcheck.result import CheckResult
from healthcheck.state import Change
from lb.address import Address, Client, SocketAddress
from lb.backend import Backend, NewBackend, new_backend
from lb.events import BackendAdvised, BackendEjected, BackendRestored, Fault, Sink
from lb.line import Line, Waiter
from lb.model import PoolSpec, Server, ServerSpec
from lb.slow_start import SlowStart
from lb.tier import Tier
from strategies.base import Strategy

__all__ = ["Changed", "Pool", "Prepared"]

Changed: TypeAlias = "Callable[[Pool, Backend, Change | None], None]"
"""Called after each change of a server's health, or (with None) of what it asks for, with the pool already right."""


@attrs.frozen
class Prepared:
    """What :meth:`Pool.prepare` made for a new list of servers, to be taken by :meth:`Pool.apply`."""

    spec: PoolSpec
    primary: Strategy
    primary_built: object
    backups: Strategy
    backups_built: object


def _members(spec: PoolSpec, *, backup: bool) -> list[ServerSpec]:
    """The servers of one tier that a strategy gets to see."""
    return [server for server in spec.servers if server.backup is backup and server.weight > 0]


class Pool:
    """The servers of one pool."""

    def __init__(self, name: str, sink: Sink, changed: Changed, new_backend: NewBackend = new_backend) -> None:
        self.name = name
        self.backends: dict[str, Backend] = {}
        self.leaving: dict[str, Backend] = {}
        self.spec = PoolSpec(name)
        self._sink = sink
        self._changed = changed
        self._new_backend = new_backend
        self._primary = Tier(strategies.registry.create(self.spec.strategy), self._strategy_fault)
        self._backups = Tier(strategies.registry.create(self.spec.strategy), self._strategy_fault)
        self.tiers = (self._primary, self._backups)
        self._sorts_by_load = False  # the strategy wants to hear of each lease; most do not
        self._load_matters = False  # to the strategy, or because a server is limited
        self._limited: set[Backend] = set()
        """Those in service that are full at times, which is worth waiting for."""
        self._line = Line()
        self._slow_start = SlowStart()

    # The list of servers

    def prepare(self, spec: PoolSpec) -> Generator[None, None, Prepared]:
        """Build what the strategies need for this list, in slices; changes nothing. Raises what a plug-in raises."""
        primary, backups = self._primary.strategy, self._backups.strategy
        if spec.strategy != self.spec.strategy:
            primary, backups = (strategies.registry.create(spec.strategy) for _ in range(2))
        primary_built = yield from primary.build(_members(spec, backup=False))
        backups_built = yield from backups.build(_members(spec, backup=True))
        return Prepared(spec, primary, primary_built, backups, backups_built)

    def apply(
        self, prepared: Prepared, targets: Mapping[Address, tuple[SocketAddress, ...]], now: float
    ) -> list[Backend]:
        """Take a new list, and what its addresses resolve to as far as known.

        Servers stay by name, with health, counters and connections. Returns those that left.
        """
        spec = prepared.spec
        known = {name: backend for name, backend in self.leaving.items() if backend.active} | self.backends
        self.spec = spec
        self.backends = {
            server.name: self._updated(known.pop(server.name, None), server, now) for server in spec.servers
        }
        for backend in self.backends.values():
            backend.targets = backend.targets or targets.get(backend.spec.address, ())
        left = self._leave(known, now)
        self._sorts_by_load = type(prepared.primary).load_changed is not Strategy.load_changed
        self._load_matters = self._sorts_by_load or any(server.max_connections for server in spec.servers)
        self._primary.use(prepared.primary, prepared.primary_built, self._members(backup=False))
        self._backups.use(prepared.backups, prepared.backups_built, self._members(backup=True))
        for backend in self.backends.values():
            self.note(backend, backend.health.expire(now), now)  # an ejection that ran out while the server was gone
            change = backend.health.respec(spec.health, spec.passive, now)
            self._heed(backend, now)
            self.note(backend, change, now)
            self._note_limit(backend)
        self._wake()
        return left

    def empty(self, now: float) -> list[Backend]:
        """The pool has left the configuration. Returns its servers, which leave with it.

        Who waits for one is to see that there will be none.
        """
        left = self._leave({**self.leaving, **self.backends}, now)
        self.backends = {}
        self.spec = PoolSpec(self.name)
        self._line.let_try(lambda: True)
        return left

    def _leave(self, gone: dict[str, Backend], now: float) -> list[Backend]:
        left = [backend for backend in gone.values() if not backend.leaving]
        for backend in left:
            if backend.spec.weight > 0:
                self._tier_of(backend).disable(backend)
            backend.leaving = True
            self._note_limit(backend)
            self._slow_start.end(backend)
            backend.drain_deadline = now + (self.spec.drain_timeout if self.spec.on_remove == "drain" else 0)
        self.leaving = {name: backend for name, backend in gone.items() if backend.active}
        return left

    def _updated(self, backend: Backend | None, spec: ServerSpec, now: float) -> Backend:
        if backend is None:
            backend = self._new_backend(self.spec, spec, now)
            backend.starts_slowly = bool(self.backends)
            self._slow_start.note(backend, now)
            return backend
        if backend.spec.address != spec.address:
            backend.targets = ()
        backend.change(now, spec=spec)
        backend.leaving = False
        backend.set_share()
        return backend

    def _members(self, *, backup: bool) -> list[Backend]:
        return [self.backends[server.name] for server in _members(self.spec, backup=backup)]

    def _refresh(self, backend: Backend) -> None:
        """Tell the strategy whether this server may be chosen."""
        if not backend.leaving and backend.spec.weight > 0:
            self._tier_of(backend).refresh(backend)

    def _tier_of(self, backend: Backend) -> Tier:
        return self._backups if backend.spec.backup else self._primary

    def _strategy_fault(self, exception: Exception) -> None:
        self._sink(Fault(f"pool {self.name}: strategy {self.spec.strategy}", exception))

    # Leases

    def pick(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """Choose an available server that is not in ``tried`` and take a lease on it, or None if there is none."""
        backend = self._primary.pick(client, tried) or self._backups.pick(client, tried)
        if backend is None and self.spec.when_all_down == "any" and not self.may_queue(tried):
            backend = self._primary.pick_any(client, tried) or self._backups.pick_any(client, tried)
        return None if backend is None else self._take(backend)

    def _take(self, backend: Backend) -> Backend:
        backend.leases.add(1)
        backend.total += 1
        if self._load_matters:
            self._load_changed(backend)
        return backend

    def release(self, backend: Backend) -> None:
        """Give a lease back: the connection, or the attempt at one, is over."""
        backend.leases.add(-1)
        if self._load_matters:
            self._load_changed(backend)
        if backend.leaving:
            if not backend.active and self.leaving.get(backend.name) is backend:
                del self.leaving[backend.name]
        elif self._line and backend.spec.max_connections:
            self._wake()

    def _load_changed(self, backend: Backend) -> None:
        if backend.leaving or backend.spec.weight == 0:
            return
        if self._sorts_by_load:
            self._tier_of(backend).load_changed(backend)
        if backend.spec.max_connections:
            self._refresh(backend)

    # Health

    def checked(self, backend: Backend, result: CheckResult, now: float) -> None:
        """Take the result of an active check."""
        backend.last_check = result
        backend.history.append(result.passed)
        if not result.passed and backend.targets:
            backend.turn_from(backend.targets[0])
        if result.exception is not None:
            self._sink(Fault(f"pool {self.name}: probe of {backend.name}", result.exception))
        backend.health.heed(result.advice)
        change = backend.health.check(result.passed, result.detail, now, at_once=result.at_once)
        self._heed(backend, now)
        self.note(backend, change, now)

    def connect_failed(self, backend: Backend, error: str, now: float) -> None:
        """A connection's attempt at this server failed, by the server's or the network's fault."""
        backend.failed_connects += 1
        if not backend.leaving:
            self.note(backend, backend.health.connect_failed(error, now), now)

    def connected(self, backend: Backend, now: float) -> None:
        """A connection's attempt at this server worked."""
        if not backend.leaving:
            self.note(backend, backend.health.connected(now), now)

    def expire(self, backend: Backend, now: float) -> None:
        """An ejection's time is over."""
        if not backend.leaving:
            self.note(backend, backend.health.expire(now), now)

    def note(self, backend: Backend, change: Change | None, now: float) -> None:
        """What has come of news of a server's health."""
        if change is None:
            return
        self._slow_start.note(backend, now)
        self._refresh(backend)
        self._note_limit(backend)
        self._say(backend, change)
        self._changed(self, backend, change)
        if backend.available:
            self._wake()

    def ramp(self, now: float) -> bool:
        """Give those that start slowly what is theirs by now; True if they are to have more later.

        To be called again and again then, and after each change of health or list: without it, nobody starts slowly.
        """
        for backend in self._slow_start.step(self.spec.slow_start, now):
            self._set_share(backend)
        for tier in (self._primary, self._backups):
            tier.pace(ramping=bool(self._slow_start))
        return bool(self._slow_start)

    def _set_share(self, backend: Backend) -> None:
        before = backend.share
        backend.set_share()
        if backend.share != before and not backend.leaving and backend.spec.weight > 0:
            self._tier_of(backend).share_changed(backend)

    def _heed(self, backend: Backend, now: float) -> None:
        """Give the server what it asks for, if that is something else than before."""
        advice = backend.health.advice
        if advice == backend.advice:
            return
        backend.change(now, advice=advice)
        self._set_share(backend)
        self._refresh(backend)
        self._note_limit(backend)
        self._say_advice(backend)
        self._changed(self, backend, None)
        if backend.available:
            self._wake()

    def _say_advice(self, backend: Backend) -> None:
        self._sink(BackendAdvised(self.name, backend.name, backend.advice.percent, backend.advice.admin or "ready"))

    def _say(self, backend: Backend, change: Change) -> None:
        """Nothing goes unsaid: the health of a server that has left the configuration stands still."""
        if change.new in ("down", "ejected") and change.old not in ("down", "ejected"):
            self._sink(BackendEjected(self.name, backend.name, change.reason, change.source))
        elif change.new == "up":
            self._sink(BackendRestored(self.name, backend.name))

    # Connections that wait for a server

    def may_queue(self, tried: Collection[Server]) -> bool:
        """Whether a connection for which :meth:`pick` had nobody may wait for a server that is full, untried so far."""
        return self._line.count.total < self.spec.queue and not self._limited.issubset(tried)

    def wait(self, waiter: Waiter) -> None:
        """Let this connection wait, behind the others: it is told when a server becomes available."""
        self._line.join(waiter)

    def stop_waiting(self, waiter: Waiter) -> None:
        """It has a server, or has ended; fine if it does not wait."""
        self._line.leave(waiter)

    def _note_limit(self, backend: Backend) -> None:
        spec = backend.spec
        fit = spec.weight > 0 and backend.health.serving and backend.advice.wants_new and not backend.leaving
        if spec.max_connections and fit:
            self._limited.add(backend)
        else:
            self._limited.discard(backend)

    def _wake(self) -> None:
        self._line.let_try(lambda: self._primary.has_any or self._backups.has_any)
