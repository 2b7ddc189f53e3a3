"""Background tasks for each server: health checks, DNS look-ups, end of an ejection."""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from healthcheck.checker import Checks
from healthcheck.probe import Secure, Target
from healthcheck.result import CheckResult
from healthcheck.state import Change
from lb.dataplane.host import Host
from lb.events import CheckWarning, ResolveFailed, Sink
from lb.model import HealthSpec
from lb.model.address import SocketAddress
from lb.net.cooperate import in_turns
from lb.net.errors import describe_error
from lb.net.resolver import keep_resolved
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.proxy_protocol.header import own_header
from lb.tls.contexts import name_of
from lb.tls.store import TlsStore

__all__ = ["ServerMonitor"]

SERVERS_PER_TURN = 64
"""Servers started before other tasks run: about half a millisecond."""


def _task_settings(pool: Pool, backend: Backend) -> object:
    """Return the settings that a server's tasks depend on."""
    return backend.spec.address, pool.spec.health, pool.spec.resolve_interval, pool.spec.tls


class ServerMonitor:
    """Runs the tasks of each server in the caller's nursery.

    ``resolved(pool, backend)`` is called after each change of a server's addresses or of their order. ``host`` is the
    interface to the machine.
    """

    def __init__(
        self, nursery: trio.Nursery, sink: Sink, resolved: Callable[[Pool, Backend], None], host: Host
    ) -> None:
        self._nursery = nursery
        self._sink = sink
        self._resolved = resolved
        self._host = host
        self.checks = {"pass": 0, "fail": 0}
        """The number of health checks so far, by result."""
        self._random = random.Random(random.random())  # noqa: S311 - jitter; reproducible with a seed
        self._running: dict[Backend, tuple[object, trio.CancelScope]] = {}
        self._checks: dict[Backend, Checks] = {}
        self._tls = TlsStore()

    def stop_obsolete(self, pools: dict[str, Pool]) -> None:
        """After a reload, stop the tasks of servers that are removed or whose settings changed."""
        pool_of = {backend: pool for pool in pools.values() for backend in pool.backends.values()}
        for backend, (settings, scope) in list(self._running.items()):
            if backend not in pool_of or settings != _task_settings(pool_of[backend], backend):
                scope.cancel()
                del self._running[backend]
        self._tls.keep(pool.spec.tls for pool in pools.values())

    async def start_missing(self, pools: dict[str, Pool]) -> None:
        """Start the tasks of new servers. Yields to traffic: starting a thousand tasks takes 7 ms."""
        started = 0
        servers = [(pool, backend) for pool in pools.values() for backend in pool.backends.values()]
        async for pool, backend in in_turns(servers):
            if backend not in self._running and (pool.spec.health is not None or backend.spec.address.is_name):
                scope = trio.CancelScope()
                self._running[backend] = (_task_settings(pool, backend), scope)
                self._nursery.start_soon(self._run_tasks, pool, backend, scope)
                started += 1
                if not started % SERVERS_PER_TURN:  # a task runs at the next turn
                    await trio.lowlevel.checkpoint()

    async def _run_tasks(self, pool: Pool, backend: Backend, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                if backend.spec.address.is_name:
                    nursery.start_soon(self._resolve, pool, backend)
                if pool.spec.health is not None:
                    nursery.start_soon(self._check, pool, backend, pool.spec.health)

    async def _check(self, pool: Pool, backend: Backend, spec: HealthSpec) -> None:
        def report(result: CheckResult) -> None:
            before = backend.targets
            self.checks["pass" if result.passed else "fail"] += 1
            if result.warning and (backend.last_check is None or result.warning != backend.last_check.warning):
                self._sink(CheckWarning(pool.name, backend.name, result.warning))
            pool.checked(backend, result, trio.current_time())
            self._report_targets(pool, backend, before)

        try:
            probes = [self._host.probe(check.probe) for check in spec.all_checks]
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must only fail this server's checks
            report(CheckResult(passed=False, detail=f"probe error: {exception}", ms=0.0, exception=exception))
            return
        secure = await self._secure(pool, backend)
        self._checks[backend] = checks = Checks(
            probes,
            spec,
            target=lambda: Target(
                pool.name,
                backend.name,
                backend.spec.address,
                backend.targets,
                own_header(pool.spec.send_proxy),
                secure,
            ),
            in_balance=lambda: backend.health.in_balance,
            report=report,
            rng=self._random,
        )
        try:
            await checks.run()
        finally:
            if self._checks.get(backend) is checks:
                del self._checks[backend]

    async def _secure(self, pool: Pool, backend: Backend) -> Secure | None:
        """Return the TLS settings of checks: those of the traffic."""
        spec = pool.spec.tls
        if spec is None:
            return None
        return Secure(await self._tls.make(spec), name_of(spec, backend.spec.address))

    async def _resolve(self, pool: Pool, backend: Backend) -> None:
        failing = False

        def found(targets: tuple[SocketAddress, ...]) -> None:
            nonlocal failing
            failing = False
            # Keep the address in use as long as the name resolves to it: the order of DNS answers is arbitrary.
            in_use = backend.targets[:1] if backend.targets[:1] and backend.targets[0] in targets else ()
            before, backend.targets = backend.targets, tuple(dict.fromkeys(in_use + targets))
            self._report_targets(pool, backend, before)

        def failed(error: OSError) -> None:
            nonlocal failing
            if not failing:
                failing = True
                address = backend.spec.address
                self._sink(ResolveFailed(pool.name, backend.name, address.host, describe_error(error)))

        await keep_resolved(
            backend.spec.address, interval=lambda: pool.spec.resolve_interval, found=found, failed=failed
        )

    def _report_targets(self, pool: Pool, backend: Backend, before: tuple[SocketAddress, ...]) -> None:
        if backend.targets != before:
            self._resolved(pool, backend)

    def end_ejections(self, pools: dict[str, Pool]) -> None:
        """Schedule the restore of servers that the predecessor ejected."""
        for pool in pools.values():
            for backend in pool.backends.values():
                if backend.health.state == "ejected":
                    self._nursery.start_soon(self._end_ejection, pool, backend, backend.health.deadline)

    def health_changed(self, pool: Pool, backend: Backend, change: Change) -> None:
        """React to a change of a server's health, reported by the pool."""
        if change.new == "ejected":
            self._nursery.start_soon(self._end_ejection, pool, backend, backend.health.deadline)
            if backend in self._checks and backend.health.in_balance:
                self._checks[backend].hurry()

    async def _end_ejection(self, pool: Pool, backend: Backend, deadline: float) -> None:
        await trio.sleep_until(deadline)
        pool.expire(backend, trio.current_time())
