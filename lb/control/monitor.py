"""Background tasks for each server: health checks, DNS look-ups, end of an ejection."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Mapping

import trio

from healthcheck.check import Checks
from healthcheck.checker import Checker
from healthcheck.result import CheckResult
from healthcheck.state import Change
from lb.control.check_target import CheckTarget, tls_of_checks
from lb.control.sharing import SharedServer, Sharing
from lb.dataplane.host import Host
from lb.events import ChecksLate, CheckWarning, ResolveFailed, Sink
from lb.model import HealthSpec, PoolTlsSpec
from lb.model.address import SocketAddress
from lb.net.cooperate import in_turns
from lb.net.errors import describe_error
from lb.net.resolver import keep_resolved
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.tls.store import TlsStore

__all__ = ["ServerMonitor"]


def _task_settings(pool: Pool, backend: Backend) -> object:
    """Return the settings that a server's tasks depend on."""
    server, spec = backend.spec, pool.spec
    return server.address, server.check_port, server.check_address, spec.health, spec.resolve_interval, spec.tls


class ServerMonitor:
    """Runs the tasks of each server in the caller's nursery.

    ``resolved(pool, backend)`` is called after each change of a server's addresses or of their order, ``first_passed``
    after the first check of a server that passes. ``host`` is the interface to the machine, ``sharing`` that to other
    nodes which check the same servers.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        sink: Sink,
        resolved: Callable[[Pool, Backend], None],
        first_passed: Callable[[], None],
        host: Host,
        sharing: Sharing,
    ) -> None:
        self._nursery = nursery
        self._sink = sink
        self._resolved = resolved
        self._first_passed = first_passed
        self._host = host
        self._sharing = sharing
        self.checks = {"pass": 0, "fail": 0, "inconclusive": 0}
        """The number of health checks so far, by result; ``inconclusive``: no verdict, for a reason of our own."""
        self._checker = Checker(
            random.Random(random.random()),  # noqa: S311 - jitter; reproducible with a seed
            lambda pool, servers, seconds: sink(ChecksLate(pool, servers, round(seconds, 3))),
        )
        self._checking = False
        """The checker runs. It starts with the first servers."""
        self._running: dict[Backend, tuple[object, trio.CancelScope]] = {}
        """The settings of each server, and the scope of its look-ups."""
        self._checks: dict[Backend, Checks] = {}
        self._shared: dict[Backend, SharedServer] = {}
        """The servers whose checks are shared with other nodes."""
        self._tls = TlsStore()

    @property
    def late_checks(self) -> int:
        """The number of health checks that started more than a second late."""
        return self._checker.late

    def stop_obsolete(self, pools: dict[str, Pool]) -> None:
        """After a reload, stop the work for servers that are removed or whose settings changed."""
        pool_of = {backend: pool for pool in pools.values() for backend in pool.backends.values()}
        for backend, (settings, scope) in list(self._running.items()):
            if backend not in pool_of or settings != _task_settings(pool_of[backend], backend):
                scope.cancel()
                del self._running[backend]
                if backend in self._checks:
                    self._checker.remove(self._checks.pop(backend))
                if backend in self._shared:
                    self._sharing.remove(self._shared.pop(backend))
        self._tls.keep(tls for pool in pools.values() for tls in tls_of_checks(pool.spec))

    async def start_missing(self, pools: dict[str, Pool]) -> None:
        """Start the work for new servers. Yields to traffic: starting a thousand takes 20 ms."""
        if not self._checking:
            self._checking = True
            await self._nursery.start(self._checker.run)
        async for pool in in_turns(list(pools.values())):
            spec = pool.spec
            contexts = {tls: await self._tls.make(tls) for tls in tls_of_checks(spec)}
            async for backend in in_turns(list(pool.backends.values())):
                if backend not in self._running and (spec.health is not None or backend.spec.address.is_name):
                    scope = trio.CancelScope()
                    self._running[backend] = (_task_settings(pool, backend), scope)
                    if backend.spec.address.is_name:
                        self._nursery.start_soon(self._resolve, pool, backend, scope)
                    if spec.health is not None:
                        self._start_checks(pool, backend, spec.health, contexts)

    def _start_checks(
        self, pool: Pool, backend: Backend, spec: HealthSpec, contexts: Mapping[PoolTlsSpec, ssl.SSLContext]
    ) -> None:
        shared = self._share(pool, backend) if spec.share else None

        def report(result: CheckResult | None) -> None:
            if shared is not None:
                result = shared.weigh(result)
            count(result)
            if shared is not None:
                shared.decide()

        def count(result: CheckResult | None) -> None:
            if result is None:
                self.checks["inconclusive"] += 1
                return
            before, had_passed = backend.targets, backend.has_passed
            self.checks["pass" if result.passed else "fail"] += 1
            if result.warning and (backend.last_check is None or result.warning != backend.last_check.warning):
                self._sink(CheckWarning(pool.name, backend.name, result.warning))
            pool.checked(backend, result, trio.current_time())
            if backend.has_passed and not had_passed:
                self._first_passed()
            self._report_targets(pool, backend, before)

        try:
            probes = [self._host.probe(check.probe) for check in spec.all_checks]
        except Exception as exception:  # noqa: BLE001 - a plug-in's bug must only fail this server's checks
            report(CheckResult(passed=False, detail=f"probe error: {exception}", ms=0.0, exception=exception))
            return
        self._checks[backend] = checks = Checks(
            probes,
            spec,
            targets=[CheckTarget(pool, backend, check, contexts) for check in spec.checks_of(backend.spec)],
            interval=lambda: backend.health.check_interval,
            report=report,
        )
        if shared is not None:
            shared.checks = checks
        self._checker.add(checks)

    def _share(self, pool: Pool, backend: Backend) -> SharedServer:
        self._shared[backend] = shared = self._sharing.add((pool.name, backend.name), backend, self._checker)
        return shared

    async def _resolve(self, pool: Pool, backend: Backend, scope: trio.CancelScope) -> None:
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

        with scope:
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
        if backend in self._shared:
            self._shared[backend].decide()
        if change.new == "ejected":
            self._nursery.start_soon(self._end_ejection, pool, backend, backend.health.deadline)
            if backend in self._checks and change.source == "passive":
                self._checker.hurry(self._checks[backend])

    async def _end_ejection(self, pool: Pool, backend: Backend, deadline: float) -> None:
        await trio.sleep_until(deadline)
        pool.expire(backend, trio.current_time())
