"""The demo without its view: servers, balancer, load, and the actions on them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal, TypeAlias

import attrs
import trio

from lb.admin.admin import Admin
from lb.config.load import parse
from lb.control.balancer import Balancer
from lb.control.plan import plan
from lb.events import AdminStarted, BackendEjected, BackendRestored, ConfigApplied, ConnectionClosed, Event, Fault
from lb.events.base import Observers
from lb.pools.backend import Backend
from lb.tools.demo.kinds import DemoKind
from lb.tools.demo.ledger import Ledger
from lb.tools.demo.load import Load
from lb.tools.demo.process import ServerProcess

__all__ = ["DemoEvent", "DemoScene"]

Tone: TypeAlias = Literal["good", "bad", "plain"]


@attrs.frozen
class DemoEvent:
    """A message for the view. ``at`` is in seconds since the start."""

    at: float
    text: str
    tone: Tone


class DemoScene:
    """The running demo: from :meth:`run` until ``over`` is set. Passes its events to ``sink``."""

    def __init__(self, kind: DemoKind, sink: Callable[[DemoEvent], None]) -> None:
        self.kind = kind
        self.servers = {name: ServerProcess(name, kind.delay) for name in kind.servers}
        self.ledger = Ledger(counted=kind.counted)
        self.over = trio.Event()
        self.address = ""
        """Address of the listener."""
        self.admin = ""
        """Address of the admin endpoint."""
        self.heavy = False
        self._observers = Observers(self._observe)
        self.balancer = Balancer(self._observers)
        self._load = Load(self.servers, self.ledger, kind)
        self._sink = sink
        self._started = trio.current_time()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return trio.current_time() - self._started

    @property
    def backends(self) -> dict[str, Backend]:
        """The balancer's state of the servers."""
        found = {name: backend for pool in self.balancer.pools.values() for name, backend in pool.backends.items()}
        return {name: found[name] for name in self.servers}

    @property
    def port(self) -> int:
        """The port of the listener."""
        return int(self.address.rpartition(":")[2])

    @property
    def urls(self) -> list[tuple[str, str]]:
        """What to open, and what it shows."""
        return [(url.format(self.port), text) for url, text in self.kind.urls]

    @property
    def config(self) -> str:
        """The configuration of the balancer in TOML."""
        return self._config(self.heavy)

    def _config(self, heavy: bool) -> str:
        return self.kind.config({name: server.address for name, server in self.servers.items()}, heavy=heavy)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until ``over`` is set. Started when the load runs."""
        with ExitStack() as ports:
            for server in self.servers.values():
                ports.enter_context(server.keep_port())
            await self._run(task_status)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as self._processes:
            for server in self.servers.values():
                await self._processes.start(self._run_server, server)
            async with trio.open_nursery() as nursery:
                config = parse(self.config, "demo.toml")
                await nursery.start(self.balancer.run, config)
                [[self.address]] = self.balancer.bound["demo"].values()
                async with trio.open_nursery() as clients:
                    clients.start_soon(self._load.run, self.port)
                    admin = Admin(self.balancer, self._observers, self, clients)
                    admin.follow(config.admin, await admin.open(config.admin))
                    task_status.started()
                    await self.over.wait()
                    clients.cancel_scope.cancel()
                self.balancer.stop_now()
            self._processes.cancel_scope.cancel()

    # Actions

    def kill(self, name: str) -> None:
        """Kill a server that is alive, as ``kill -9`` does."""
        server = self.servers[name]
        if server.alive:
            self.report(f"kill -9 {server.pid} ({name})")
            server.kill()

    async def revive(self, name: str) -> None:
        """Restart a server that is dead."""
        server = self.servers[name]
        if server.alive:
            return
        try:
            await self._processes.start(self._run_server, server)
        except OSError as error:
            self.report(f"{name} cannot be restarted on {server.address}: {error.strerror}", "bad")
        else:
            self.report(f"{name} is restarted, pid {server.pid}")

    async def reload(self) -> tuple[str, ...]:
        """Switch to the other weight, as a reload of an edited file would. Always succeeds."""
        self.heavy = not self.heavy
        await self.balancer.reload(parse(self.config, "demo.toml"))
        return ()

    async def preview(self) -> tuple[str, ...]:
        """Return the changes that the next reload makes."""
        return plan(self.balancer.written, parse(self._config(not self.heavy), "demo.toml")).lines()

    # Events

    def report(self, text: str, tone: Tone = "plain") -> None:
        """Pass a message to the view."""
        self._sink(DemoEvent(self.elapsed, text, tone))

    async def _run_server(self, server: ServerProcess, *, task_status: trio.TaskStatus[None]) -> None:
        ending = await server.run(task_status=task_status)
        self.report(f"{server.name} is dead: {ending}", "bad")

    def _observe(self, event: Event) -> None:
        match event:
            case ConnectionClosed():
                self._load.closed(event)
            case BackendEjected(server=name, reason=reason):
                self.ledger.ejected.add(name)
                self.report(f"{name} is ejected: {reason}{self._since_death(name)}", "bad")
            case BackendRestored(server=name):
                self.ledger.restored.add(name)
                self.report(f"{name} is restored", "good")
            case AdminStarted(bind=bind):
                self.admin = bind
            case ConfigApplied():
                heavier = self.kind.heavier
                self.report(f"reloaded: {heavier} has weight {self.backends[heavier].weight} now", "good")
            case Fault(where=where, exception=exception):
                self.ledger.faults.append(f"{where}: {exception!r}")
                self.report(f"internal error: {where}: {exception!r}", "bad")
            case _ if event.level not in ("info", "debug"):
                self.report(event.name, "bad")

    def _since_death(self, name: str) -> str:
        server = self.servers[name]
        return "" if server.alive else f" ({trio.current_time() - server.died_at:.2f} s after it died)"
