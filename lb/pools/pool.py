"""A pool at run time: its servers, their availability, and the leases that connections hold.

No I/O and no clock: the caller passes the time, and a sink receives the events.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from typing import TypeAlias

import attrs

import strategies.registry
from healthcheck.result import CheckResult
from healthcheck.state import Change
from lb.events import BackendAdvised, BackendEjected, BackendRestored, Fault, Sink
from lb.model import PoolSpec, Server, ServerSpec
from lb.model.address import Address, Client, SocketAddress
from lb.pools.backend import Backend, NewBackend, new_backend
from lb.pools.priority_group import PriorityGroup
from lb.pools.slow_start import SlowStart
from lb.pools.wait_queue import Waiter, WaitQueue
from strategies.base import Strategy
from strategies.ignored import Ignorable, ignored

__all__ = ["Changed", "Pool", "Prepared"]

Changed: TypeAlias = "Callable[[Pool, Backend, Change | None], None]"
"""Called after each change of a server's health, or (with None) of its agent check, once the pool is up to date."""


@attrs.frozen
class Prepared:
    """The result of :meth:`Pool.prepare` for a new list of servers; the argument of :meth:`Pool.apply`."""

    spec: PoolSpec
    primary: Strategy
    primary_built: object
    backups: Strategy
    backups_built: object
    complete: bool = True
    """False if a table is a stand-in: see :meth:`strategies.base.Strategy.stand_in`."""


def _members(spec: PoolSpec, *, backup: bool) -> list[ServerSpec]:
    """Return the primaries or the backups with a weight above 0: the members that a strategy sees."""
    return [server for server in spec.servers if server.backup is backup and server.weight > 0]


class Pool:
    """The servers of one pool. ``start`` is the position in the list where turns begin, 0 to 1."""

    def __init__(
        self, name: str, sink: Sink, changed: Changed, new_backend: NewBackend = new_backend, *, start: float = 0.0
    ) -> None:
        self.name = name
        self.backends: dict[str, Backend] = {}
        self.leaving: dict[str, Backend] = {}
        self.spec = PoolSpec(name)
        self.needs_build = False
        """The tables in use are not those of ``spec``: they are stand-ins, or a weight has changed since."""
        self._reweighted: set[Backend] = set()
        """Servers whose weight has changed since the tables were built."""
        self.ignored: tuple[Ignorable, ...] = ()
        """Settings without an effect under the strategy."""
        self._sink = sink
        self._changed = changed
        self._new_backend = new_backend
        self._primary = PriorityGroup(strategies.registry.create(self.spec.strategy), self._strategy_fault)
        self._backups = PriorityGroup(strategies.registry.create(self.spec.strategy), self._strategy_fault)
        self.groups = (self._primary, self._backups)
        self._sorts_by_load = False  # the strategy needs each load change; most do not
        self._load_matters = False  # to the strategy, or because a server has max_connections
        self._limited: set[Backend] = set()
        """Servers in service that have ``max_connections``: a connection may queue for them."""
        self._without_primary = False
        self._wait_queue = WaitQueue()
        self._slow_start = SlowStart()
        self._start = start

    # The list of servers

    def prepare(self, spec: PoolSpec, *, at_start: bool = False) -> Generator[None, None, Prepared]:
        """Build the strategies' tables for a new list, in slices. Changes nothing. Raises any error of a plug-in.

        ``at_start``: nothing is served yet, so large tables have a stand-in.
        """
        strategies_of = self._primary.strategy, self._backups.strategy
        if spec.strategy != self.spec.strategy:
            strategies_of = strategies.registry.create(spec.strategy), strategies.registry.create(spec.strategy)
        complete = True
        built = []
        for strategy, backup in zip(strategies_of, (False, True), strict=True):
            members = _members(spec, backup=backup)
            stand_in = strategy.stand_in(members) if at_start else None
            complete = complete and stand_in is None
            built.append((yield from stand_in or strategy.build(members)))
        primary, backups = strategies_of
        primary.start = backups.start = self._start
        return Prepared(spec, primary, built[0], backups, built[1], complete)

    def apply(
        self, prepared: Prepared, targets: Mapping[Address, tuple[SocketAddress, ...]], now: float
    ) -> list[Backend]:
        """Apply a new list of servers; ``targets`` holds the resolved addresses known so far.

        Servers with the same name keep their health, counters and connections; if nothing changes for them, they cost
        next to nothing. Returns the removed servers.
        """
        before, spec = self.spec, prepared.spec
        self.needs_build = not prepared.complete
        known = {name: backend for name, backend in self.leaving.items() if backend.active} | self.backends
        self.spec = spec
        self.ignored = ignored(spec)
        changed = self._update_servers(known, now)
        if (spec.health, spec.passive) != (before.health, before.passive):
            changed = list(self.backends.values())
        for backend in changed:
            backend.targets = backend.targets or targets.get(backend.spec.address, ())
        left = self._leave(known, now)
        self._sorts_by_load = type(prepared.primary).load_changed is not Strategy.load_changed
        self._load_matters = self._sorts_by_load or any(server.max_connections for server in spec.servers)
        self._primary.use(prepared.primary, prepared.primary_built, self._members(backup=False))
        self._backups.use(prepared.backups, prepared.backups_built, self._members(backup=True))
        others = self.backends.values() if spec.strategy != before.strategy else self._reweighted
        for backend in {**dict.fromkeys(changed), **dict.fromkeys(others)}:
            self._refresh(backend)
        self._reweighted = set()
        for backend in changed:
            self.note(backend, backend.health.expire(now), now)  # an ejection that expired while the server was removed
            change = backend.health.respec(spec.health, spec.passive, now)
            self._apply_advice(backend, now)
            self.note(backend, change, now)
            self._update_limited(backend)
        self._wake()
        return left

    def override(self, backend: Backend, spec: ServerSpec, now: float) -> None:
        """Give a server another weight, or let it drain, at once.

        A table is not built again for another weight: it keeps the server's place until :meth:`prepare` and
        :meth:`apply`, and a server without a place gets no connections before.
        """
        reweighted = spec.weight != backend.spec.weight
        servers = tuple(spec if server.name == spec.name else server for server in self.spec.servers)
        self.spec = attrs.evolve(self.spec, servers=servers)
        self.ignored = ignored(self.spec)
        backend.change(now, spec=spec)
        group = self._group_of(backend)
        if reweighted and group.builds_tables:
            self.needs_build = True
            self._reweighted.add(backend)
        elif reweighted:
            group.use(group.strategy, None, self._members(backup=spec.backup))
        group.refresh(backend)
        self._update_limited(backend)
        self._wake()

    def empty(self, now: float) -> list[Backend]:
        """Remove all servers, as the pool left the configuration. Returns them.

        Wakes the queued connections, so that they fail.
        """
        left = self._leave({**self.leaving, **self.backends}, now)
        self.backends = {}
        self.spec = PoolSpec(self.name)
        self._wait_queue.let_try(lambda: True)
        return left

    def _leave(self, gone: dict[str, Backend], now: float) -> list[Backend]:
        left = [backend for backend in gone.values() if not backend.leaving]
        for backend in left:
            if backend.spec.weight > 0:
                self._group_of(backend).disable(backend)
            backend.leaving = True
            self._update_limited(backend)
            self._slow_start.end(backend)
            backend.drain_deadline = now + (self.spec.drain_timeout if self.spec.on_remove == "drain" else 0)
        self.leaving = {name: backend for name, backend in gone.items() if backend.active}
        return left

    def _update_servers(self, known: dict[str, Backend], now: float) -> list[Backend]:
        """Take the servers of the new list from ``known``, or create them. Returns those that are new or changed."""
        changed: list[Backend] = []
        backends: dict[str, Backend] = {}
        for server in self.spec.servers:
            backend = known.pop(server.name, None)
            if backend is None or backend.leaving or backend.spec is not server:
                backend = self._updated(backend, server, now)
                changed.append(backend)
            backends[server.name] = backend
        self.backends = backends
        return changed

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
        """Update in the strategy whether this server may be chosen."""
        if not backend.leaving and backend.spec.weight > 0:
            self._group_of(backend).refresh(backend)

    def _group_of(self, backend: Backend) -> PriorityGroup:
        return self._backups if backend.spec.backup else self._primary

    def _strategy_fault(self, exception: Exception) -> None:
        self._sink(Fault(f"pool {self.name}: strategy {self.spec.strategy}", exception))

    # Leases

    def pick(self, client: Client, tried: Collection[Server]) -> Backend | None:
        """Choose an available server that is not in ``tried`` and acquire a lease; None if there is none."""
        backend = self._primary.pick(client, tried) or self._backups.pick(client, tried)
        if backend is None:
            if self.spec.when_all_down != "any" or self.may_queue(tried):
                return None
            backend = self._primary.pick_any(client, tried) or self._backups.pick_any(client, tried)
            if backend is None:
                return None
        self._acquire(backend)
        return backend

    def pick_server(self, name: str, tried: Collection[Server]) -> Backend | None:
        """Acquire a lease on the server with this name, if :meth:`pick` could choose it now; else return None.

        For sticky sessions: the strategy is not asked, but counts the lease. If all servers are down, and
        ``when_all_down`` is ``any``, a session stays with its server.
        """
        backend = self.backends.get(name)
        if backend is None or backend in tried or not self._could_choose(backend, tried):
            return None
        self._acquire(backend)
        return backend

    def _acquire(self, backend: Backend) -> None:
        backend.leases.add(1)
        backend.total += 1
        if self._load_matters:
            self._load_changed(backend)

    def _could_choose(self, backend: Backend, tried: Collection[Server]) -> bool:
        if self._primary.has_any(tried):
            return not backend.spec.backup and self._primary.pick_server(backend)
        if self._backups.has_any(tried):
            return backend.spec.backup and self._backups.pick_server(backend)
        if self.spec.when_all_down != "any" or self.may_queue(tried):
            return False
        unhealthy = {each for each in self.backends.values() if each.open_to_new and each not in tried}
        return backend in unhealthy and (not backend.spec.backup or all(each.spec.backup for each in unhealthy))

    def release(self, backend: Backend) -> None:
        """Release a lease when the connection or the attempt ends."""
        backend.leases.add(-1)
        if self._load_matters:
            self._load_changed(backend)
        if backend.leaving:
            if not backend.active and self.leaving.get(backend.name) is backend:
                del self.leaving[backend.name]
        elif backend.spec.max_connections and self._wait_queue:
            self._wake()

    def _load_changed(self, backend: Backend) -> None:
        if self._sorts_by_load:
            (self._backups if backend.spec.backup else self._primary).load_changed(backend)
        if backend.spec.max_connections:
            self._refresh(backend)

    # Health

    def checked(self, backend: Backend, result: CheckResult, now: float) -> None:
        """Process the result of a health check."""
        backend.last_check = result
        backend.history.append(result.passed)
        backend.has_passed = backend.has_passed or result.passed
        if not result.passed and backend.targets:
            backend.try_next_address(backend.targets[0])
        if result.exception is not None:
            self._sink(Fault(f"pool {self.name}: probe of {backend.name}", result.exception))
        backend.health.apply_advice(result.advice)
        change = backend.health.check(result.passed, result.detail, now, took=result.ms / 1000, at_once=result.at_once)
        self._apply_advice(backend, now)
        self.note(backend, change, now)

    def connect_failed(self, backend: Backend, error: str, now: float) -> None:
        """Record a failed connect, caused by the server or the network."""
        backend.failed_connects += 1
        if not backend.leaving:
            self.note(backend, backend.health.connect_failed(error, now), now)

    def connected(self, backend: Backend, now: float) -> None:
        """Record a successful connect."""
        if not backend.leaving:
            self.note(backend, backend.health.connected(now), now)

    def request_failed(self, backend: Backend, text: str, now: float) -> None:
        """Record a response that counts as a failure; ``text`` is the reason in the log, such as ``HTTP 503``.

        It counts beside failed connects, in the same row (:meth:`healthcheck.state.Health.request_failed`).
        """
        if self.spec.passive.failures and not backend.leaving:
            self.note(backend, backend.health.request_failed(text, now), now)

    def request_succeeded(self, backend: Backend, now: float) -> None:
        """Record a response that does not count as a failure. Only for pools where some do (``passive.statuses``)."""
        if not backend.leaving:
            backend.health.request_succeeded(now)

    def expire(self, backend: Backend, now: float) -> None:
        """End an ejection whose time has expired."""
        if not backend.leaving:
            self.note(backend, backend.health.expire(now), now)

    def note(self, backend: Backend, change: Change | None, now: float) -> None:
        """Apply a change of a server's health, and emit its event."""
        if change is None:
            return
        self._slow_start.note(backend, now)
        self._refresh(backend)
        self._update_limited(backend)
        self._emit_change(backend, change)
        self._changed(self, backend, change)
        if backend.available:
            self._wake()

    def ramp(self, now: float) -> bool:
        """Advance the slow starts; return True while a server ramps.

        Call it repeatedly while it returns True, and after each change of health or of the list. Slow start depends
        on these calls.
        """
        for backend in self._slow_start.step(self.spec.slow_start, now):
            self._set_share(backend)
        for group in (self._primary, self._backups):
            group.pace(ramping=bool(self._slow_start))
        return bool(self._slow_start)

    def _set_share(self, backend: Backend) -> None:
        before = backend.share
        backend.set_share()
        if backend.share != before and not backend.leaving and backend.spec.weight > 0:
            self._group_of(backend).share_changed(backend)

    def _apply_advice(self, backend: Backend, now: float) -> None:
        """Apply the agent check's share and state, if they changed."""
        advice = backend.health.advice
        if advice is backend.advice or advice == backend.advice:
            return
        backend.change(now, advice=advice)
        self._set_share(backend)
        self._refresh(backend)
        self._update_limited(backend)
        self._emit_advice(backend)
        self._changed(self, backend, None)
        if backend.available:
            self._wake()

    def _emit_advice(self, backend: Backend) -> None:
        self._sink(BackendAdvised(self.name, backend.name, backend.advice.percent, backend.advice.admin or "ready"))

    def _emit_change(self, backend: Backend, change: Change) -> None:
        """Emit the event of a change. No event is lost: the health of a removed server does not change."""
        if change.new in ("down", "ejected") and change.old not in ("down", "ejected"):
            self._sink(BackendEjected(self.name, backend.name, change.reason, change.source))
        elif change.new == "up":
            self._sink(BackendRestored(self.name, backend.name))

    def primary_is_back(self) -> bool:
        """Return True if a primary is in service, full or not, and at the last call none was."""
        had_none = self._without_primary
        self._without_primary = not any(
            backend.health.serving and not (backend.spec.backup or backend.closed) for backend in self.backends.values()
        )
        return had_none and not self._without_primary

    # Queued connections

    def may_queue(self, tried: Collection[Server]) -> bool:
        """Return whether a connection without a server may wait for a full server that is not in ``tried``."""
        return self._wait_queue.has_room(self.spec.queue) and not self._limited.issubset(tried)

    def enqueue(self, waiter: Waiter) -> bool:
        """Append a connection to the queue, as :meth:`wait` does, unless other workers have filled it meanwhile."""
        return self._wait_queue.join_within(self.spec.queue, waiter)

    def wait(self, waiter: Waiter) -> None:
        """Append a connection, even to a full queue. ``waiter.server_available()`` is called when it may retry."""
        self._wait_queue.join(waiter)

    def stop_waiting(self, waiter: Waiter) -> None:
        """Remove a connection from the queue, if it is there."""
        self._wait_queue.leave(waiter)

    def _update_limited(self, backend: Backend) -> None:
        if backend.spec.max_connections and backend.in_service:
            self._limited.add(backend)
        else:
            self._limited.discard(backend)

    def _wake(self) -> None:
        self._wait_queue.let_try(lambda: self._primary.has_any() or self._backups.has_any())
