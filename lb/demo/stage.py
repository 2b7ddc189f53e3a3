"""The demo itself, without its looks: servers, balancer, load, and what can be done to them while they run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal, TypeAlias

import attrs
import trio

from lb.admin.admin import Admin
from lb.backend import Backend
from lb.config import parse
from lb.demo.ledger import Ledger
from lb.demo.load import Load
from lb.demo.process import ServerProcess
from lb.events import AdminStarted, BackendEjected, BackendRestored, ConfigApplied, ConnectionClosed, Event, Fault
from lb.observers import Observers
from lb.plan import plan
from lb.server import Balancer

__all__ = ["NAMES", "Happening", "Stage"]

NAMES = ("s1", "s2", "s3")
HEAVIER = "s3"
"""Whose weight a reload changes."""

CONFIG = """\
[admin]
bind = "127.0.0.1:0"

[listeners.demo]
bind = "127.0.0.1:0"        # port 0: the system chooses one

[pools.demo]
strategy = "weighted"
servers = [
{servers}]

[pools.demo.health]
probe = "exchange"          # send something, expect an answer
send = "ping\\n"
expect = "ping"
interval = "500ms"
fast_interval = "100ms"     # while a verdict is in the balance
timeout = "500ms"
fall = 2                    # failures that take a server down
rise = 2                    # passes that bring it up again
"""

Tone: TypeAlias = Literal["good", "bad", "plain"]


@attrs.frozen
class Happening:
    """A line for the audience; ``at`` is in seconds since the start."""

    at: float
    text: str
    tone: Tone


class Stage:
    """Runs from :meth:`run` until ``over`` is set. Calls ``tell`` with what happens, as it happens."""

    def __init__(self, tell: Callable[[Happening], None]) -> None:
        self.servers = {name: ServerProcess(name) for name in NAMES}
        self.ledger = Ledger()
        self.over = trio.Event()
        self.address = ""
        """Where the balancer listens."""
        self.admin = ""
        """Where its admin endpoint does."""
        self.heavy = False
        self._say = Observers(self._observe)
        self.balancer = Balancer(self._say)
        self._load = Load(self.servers, self.ledger)
        self._audience = tell
        self._started = trio.current_time()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return trio.current_time() - self._started

    @property
    def backends(self) -> dict[str, Backend]:
        """The servers as the balancer sees them."""
        return self.balancer.pools["demo"].backends

    @property
    def config(self) -> str:
        """The configuration of the balancer, as a user would write it."""
        return self._config(self.heavy)

    def _config(self, heavy: bool) -> str:
        lines = (
            f'    {{ name = "{name}", address = "{server.address}", weight = {_weight(name, heavy)} }},\n'
            for name, server in self.servers.items()
        )
        return CONFIG.format(servers="".join(lines))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Play until ``over``. Started when the load runs."""
        with ExitStack() as ports:
            for server in self.servers.values():
                ports.enter_context(server.keep_port())
            await self._play(task_status)

    async def _play(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as self._lives:
            for server in self.servers.values():
                await self._lives.start(self._live, server)
            async with trio.open_nursery() as nursery:
                config = parse(self.config, "demo.toml")
                await nursery.start(self.balancer.run, config)
                [[self.address]] = self.balancer.bound["demo"].values()
                port = int(self.address.rpartition(":")[2])
                async with trio.open_nursery() as clients:
                    clients.start_soon(self._load.run, port)
                    admin = Admin(self.balancer, self._say, self, clients)
                    admin.follow(config.admin, admin.open(config.admin))
                    task_status.started()
                    await self.over.wait()
                    clients.cancel_scope.cancel()
                self.balancer.stop_now()
            self._lives.cancel_scope.cancel()

    # What can be done

    def kill(self, name: str) -> None:
        """``kill -9`` a server that lives."""
        server = self.servers[name]
        if server.alive:
            self.tell(f"kill -9 {server.pid}, which is {name}")
            server.kill()

    async def revive(self, name: str) -> None:
        """Start a server that is dead again."""
        server = self.servers[name]
        if server.alive:
            return
        try:
            await self._lives.start(self._live, server)
        except OSError as error:
            self.tell(f"{name} cannot be revived on {server.address}: {error.strerror}", "bad")
        else:
            self.tell(f"{name} is started again, pid {server.pid}")

    async def reload(self) -> tuple[str, ...]:
        """Change to the other weight, as SIGHUP would with an edited file. Nothing can be wrong with it."""
        self.heavy = not self.heavy
        await self.balancer.reload(parse(self.config, "demo.toml"))
        return ()

    async def preview(self) -> tuple[str, ...]:
        """What that would change."""
        return plan(self.balancer.written, parse(self._config(not self.heavy), "demo.toml")).lines()

    # What is seen

    def tell(self, text: str, tone: Tone = "plain") -> None:
        """Say something to the audience."""
        self._audience(Happening(self.elapsed, text, tone))

    async def _live(self, server: ServerProcess, *, task_status: trio.TaskStatus[None]) -> None:
        ending = await server.run(task_status=task_status)
        self.tell(f"{server.name} is dead: {ending}", "bad")

    def _observe(self, event: Event) -> None:
        match event:
            case ConnectionClosed():
                self._load.closed(event)
            case BackendEjected(server=name, reason=reason):
                self.ledger.ejected.add(name)
                self.tell(f"{name} is ejected: {reason}{self._since_death(name)}", "bad")
            case BackendRestored(server=name):
                self.ledger.restored.add(name)
                self.tell(f"{name} is restored", "good")
            case AdminStarted(bind=bind):
                self.admin = bind
            case ConfigApplied():
                self.tell(f"reloaded: {HEAVIER} has weight {_weight(HEAVIER, self.heavy)} now", "good")
            case Fault(where=where, exception=exception):
                self.ledger.faults.append(f"{where}: {exception!r}")
                self.tell(f"a bug: {where}: {exception!r}", "bad")
            case _ if event.level != "info":
                self.tell(event.name, "bad")

    def _since_death(self, name: str) -> str:
        server = self.servers[name]
        return "" if server.alive else f" ({trio.current_time() - server.died_at:.2f} s after it died)"


def _weight(name: str, heavy: bool) -> int:
    return 3 if heavy and name == HEAVIER else 1
