"""The demo without its view: servers, balancer, load, and the actions on them."""

from __future__ import annotations

from collections.abc import Callable

import trio

from lb.config.load import parse
from lb.control.plan import plan
from lb.events import BackendEjected, BackendRestored, ConfigApplied, ConnectionClosed, Event, Fault
from lb.pools.backend import Backend
from lb.tools.demo.base_scene import BaseScene, DemoEvent
from lb.tools.demo.kinds import DemoKind
from lb.tools.demo.ledger import Ledger
from lb.tools.demo.load import Load
from lb.tools.demo.server_group import ServerGroup

__all__ = ["DemoScene"]


class DemoScene(BaseScene):
    """The running demo: from :meth:`run` until ``over`` is set. Passes its events to ``sink``."""

    def __init__(self, kind: DemoKind, sink: Callable[[DemoEvent], None]) -> None:
        super().__init__(sink)
        self.kind = kind
        self._group = ServerGroup(kind.servers, self.report, kind.delay)
        self.servers = self._group.servers
        self.ledger = Ledger(counted=kind.counted)
        self.address = ""
        """Address of the listener."""
        self.heavy = False
        self._load = Load(self.servers, self.ledger, kind)

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
        async with self._group.running(), self.balancing(parse(self.config, "demo.toml")) as clients:
            self.address = self.listener_address("demo")
            clients.start_soon(self._load.run, self.port)
            task_status.started()
            await self.over.wait()

    # Actions

    def kill(self, name: str) -> None:
        """Kill a server that is alive, as ``kill -9`` does."""
        self._group.kill(name)

    async def revive(self, name: str) -> None:
        """Restart a server that is dead."""
        await self._group.revive(name)

    async def reload(self) -> tuple[str, ...]:
        """Switch to the other weight, as a reload of an edited file would. Always succeeds."""
        self.heavy = not self.heavy
        await self.balancer.reload(parse(self.config, "demo.toml"))
        return ()

    async def preview(self) -> tuple[str, ...]:
        """Return the changes that the next reload makes."""
        return plan(self.balancer.written, parse(self._config(not self.heavy), "demo.toml")).lines()

    # Events

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
            case ConfigApplied():
                heavier = self.kind.heavier
                self.report(f"reloaded: {heavier} has weight {self.backends[heavier].weight} now", "good")
            case Fault(where=where, exception=exception):
                self.ledger.faults.append(f"{where}: {exception!r}")
                self.report(f"internal error: {where}: {exception!r}", "bad")
            case _:
                super()._observe(event)

    def _since_death(self, name: str) -> str:
        server = self.servers[name]
        return "" if server.alive else f" ({trio.current_time() - server.died_at:.2f} s after it died)"
