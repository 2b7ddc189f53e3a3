"""A storm: carries out a plan of failures with the balancer, servers and clients, then checks the state afterwards."""

from __future__ import annotations

import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from chaos import configs
from chaos.balancer import BrokenError, RunningBalancer
from chaos.clients import Clients
from chaos.http_clients import HttpClients
from chaos.ledger import Disturbance, Ledger
from chaos.outside import ProcessStats
from chaos.plan import LONGEST, WORKERS, Action, plan
from chaos.servers import ServerProcess

__all__ = ["SERVERS", "Outcome", "storm"]

SERVERS = ("a", "b", "c", "d")
CLIENTS = 30
"""Concurrent clients, besides bursts."""
HTTP_CLIENTS = 15
"""The same of the http listener."""
DESCRIPTORS = 300
"""Limit of each process of the balancer: fewer than a burst needs."""
WARM_UP = 300
"""Sessions before the first statistics, so that caches and pools of the balancer are full."""
LEASES = 5
"""``max_connections`` per server in the last configuration."""


@attrs.define
class Outcome:
    """The result of a storm besides the ledger."""

    actions: tuple[Action, ...]
    before: dict[str, ProcessStats] = attrs.field(factory=dict)
    after: dict[str, ProcessStats] = attrs.field(factory=dict)
    leases: tuple[int, int] = (0, 0)
    """Connections served at once within the limits of the servers, and beyond the limits."""
    event_counts: Counter[str] = attrs.field(factory=Counter)
    """Lines of the balancer's log per event."""
    open_at_stop: int | None = None
    exit_code: int | None = None


async def storm(ledger: Ledger, seed: int, seconds: float, report: Callable[[Action], None]) -> Outcome:
    """Run a storm to its end, or until the balancer breaks; the ledger has the reason. Calls ``report`` per action."""
    outcome = Outcome(plan(seed, seconds, SERVERS))
    servers = {name: ServerProcess(name, partial(ledger.report, name)) for name in SERVERS}
    addresses = {name: f"127.0.0.1:{server.port}" for name, server in servers.items()}
    with tempfile.TemporaryDirectory(prefix="lb-chaos-") as folder:
        balancer = RunningBalancer(Path(folder), ledger, addresses)
        async with trio.open_nursery() as nursery:
            for server in servers.values():
                await server.start(nursery)
            try:
                await balancer.start(nursery, configs.base(SERVERS), DESCRIPTORS)
                clients = Clients(ledger, balancer.ports["web"], seed)
                http_clients = HttpClients(ledger, balancer.ports["www"], seed)
                await Storm(ledger, balancer, servers, clients, http_clients, nursery, report).run(outcome)
            except BrokenError as error:
                ledger.broken.append(str(error))
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    balancer.kill()
                    for server in servers.values():
                        await server.kill()
    return outcome


class Storm:
    """A running storm."""

    def __init__(
        self,
        ledger: Ledger,
        balancer: RunningBalancer,
        servers: dict[str, ServerProcess],
        clients: Clients,
        http_clients: HttpClients,
        nursery: trio.Nursery,
        report: Callable[[Action], None],
    ) -> None:
        self._ledger = ledger
        self._balancer = balancer
        self._servers = servers
        self._clients = clients
        self._http_clients = http_clients
        self._nursery = nursery
        self._report = report

    async def run(self, outcome: Outcome) -> None:
        await self._warm_up()
        outcome.before = await self._balancer.calm_stats()
        over = trio.Event()
        async with trio.open_nursery() as sessions:
            for _ in range(CLIENTS):
                sessions.start_soon(self._clients.one_after_another, over)
            for _ in range(HTTP_CLIENTS):
                sessions.start_soon(self._http_clients.one_after_another, over)
            began = trio.current_time()
            for action in outcome.actions:
                await trio.sleep_until(began + action.at)
                self._report(action)
                await self._do(action, sessions)
            over.set()
        await self._balancer.lines("worker.started", WORKERS + self._balancer.counts["worker.died"])
        await self._balancer.records()
        outcome.after = await self._balancer.settled_stats(outcome.before)
        outcome.leases = await self._leases()
        outcome.exit_code = await self._balancer.stop()
        outcome.event_counts = self._balancer.counts
        outcome.open_at_stop = self._balancer.stopping.get("open_connections")

    async def _warm_up(self) -> None:
        async with trio.open_nursery() as sessions:
            enough = trio.Event()
            for _ in range(CLIENTS):
                sessions.start_soon(self._clients.one_after_another, enough)
            for _ in range(HTTP_CLIENTS):
                sessions.start_soon(self._http_clients.one_after_another, enough)
            while len(self._ledger.sessions) < WARM_UP:
                await self._balancer.lines("connection.closed", self._balancer.counts["connection.closed"] + 1)
            enough.set()
        await self._balancer.records()

    # Actions

    async def _do(self, action: Action, sessions: trio.Nursery) -> None:
        match action.kind, action.target:
            case (("apply" | "reject"), _):
                await self._reload(action)
            case "burst", int(count):
                for number in range(count):
                    if number % 4:
                        sessions.start_soon(self._clients.session, "short")
                    else:
                        sessions.start_soon(self._http_clients.session, "single")
            case "kill worker", int(number):
                self._balancer.signal_worker(number, signal.SIGKILL)
            case "freeze worker", int(number):
                self._balancer.signal_worker(number, signal.SIGSTOP)
            case "thaw worker", int(number):
                self._balancer.signal_worker(number, signal.SIGCONT)
            case kind, str(name):
                await self._to_server(kind, self._servers[name])

    async def _reload(self, action: Action) -> None:
        accepted = action.kind == "apply"
        began = trio.current_time()
        await self._balancer.reload(action.text, accepted=accepted)
        if accepted:
            self._ledger.disturbances += (
                Disturbance("remove", name, began, trio.current_time() + 1)
                for name in self._servers
                if f'name = "{name}"' not in action.text
            )

    async def _to_server(self, kind: str, server: ServerProcess) -> None:
        match kind:
            case "kill":
                with self._disturbance("kill", server.name):
                    await server.kill()
            case "start":
                await server.start(self._nursery)
            case "freeze":
                now = trio.current_time()
                self._ledger.disturbances.append(Disturbance("freeze", server.name, now, now + LONGEST))
                server.freeze()
            case "thaw":
                server.thaw()
            case "refuse":
                with self._disturbance("refuse", server.name):
                    await server.command("refuse")
            case command:
                await server.command(command)

    @contextmanager
    def _disturbance(self, kind: str, target: str) -> Iterator[None]:
        began = trio.current_time()
        yield
        self._ledger.disturbances.append(Disturbance(kind, target, began, trio.current_time()))

    # Afterwards

    async def _leases(self) -> tuple[int, int]:
        """Return how many connections are served at once within the limits of the servers, and beyond them."""
        text = configs.base(SERVERS, f"max_connections = {LEASES}").replace('"20s"', '"2s"')
        await self._balancer.reload(text, accepted=True)
        return await self._clients.at_once(LEASES * len(SERVERS), more=2)
