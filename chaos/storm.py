"""A storm: the balancer, its servers and its clients; a plan is carried out, and afterwards all has to be as before."""

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
from chaos.ledger import Deed, Ledger
from chaos.outside import Sight
from chaos.plan import WORKERS, Action, plan
from chaos.servers import ServerProcess

__all__ = ["SERVERS", "Outcome", "storm"]

SERVERS = ("a", "b", "c", "d")
CLIENTS = 30
"""At once, besides bursts."""
DESCRIPTORS = 300
"""That each process of the balancer may have: fewer than a burst needs."""
WARM_UP = 300
"""Sessions before the first look at the balancer, so that its caches and stocks are full."""
LEASES = 5
"""The last configuration's limit of connections for each server."""


@attrs.define
class Outcome:
    """What there is to judge besides the ledger."""

    actions: tuple[Action, ...]
    before: dict[str, Sight] = attrs.field(factory=dict)
    after: dict[str, Sight] = attrs.field(factory=dict)
    leases: tuple[int, int] = (0, 0)
    """Connections that were served at once under a limit for each server, and those beyond it that were."""
    said: Counter[str] = attrs.field(factory=Counter)
    """Lines of the balancer's log, by event."""
    open_at_stop: int | None = None
    exit_code: int | None = None


async def storm(ledger: Ledger, seed: int, seconds: float, say: Callable[[Action], None]) -> Outcome:
    """Run one, to its end or until the balancer breaks, which is then in the ledger."""
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
                clients = Clients(ledger, balancer.port, seed)
                await Storm(ledger, balancer, servers, clients, nursery, say).run(outcome)
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
    """One while it blows."""

    def __init__(
        self,
        ledger: Ledger,
        balancer: RunningBalancer,
        servers: dict[str, ServerProcess],
        clients: Clients,
        nursery: trio.Nursery,
        say: Callable[[Action], None],
    ) -> None:
        self._ledger = ledger
        self._balancer = balancer
        self._servers = servers
        self._clients = clients
        self._nursery = nursery
        self._say = say

    async def run(self, outcome: Outcome) -> None:
        await self._warm_up()
        outcome.before = self._balancer.look()
        over = trio.Event()
        async with trio.open_nursery() as sessions:
            for _ in range(CLIENTS):
                sessions.start_soon(self._clients.one_after_another, over)
            began = trio.current_time()
            for action in outcome.actions:
                await trio.sleep_until(began + action.at)
                self._say(action)
                await self._do(action, sessions)
            over.set()
        await self._balancer.lines("worker.started", WORKERS + self._balancer.counts["worker.died"])
        await self._balancer.records()
        outcome.after = await self._balancer.calm(outcome.before)
        outcome.leases = await self._leases()
        outcome.exit_code = await self._balancer.stop()
        outcome.said = self._balancer.counts
        outcome.open_at_stop = self._balancer.stopping.get("open_connections")

    async def _warm_up(self) -> None:
        async with trio.open_nursery() as sessions:
            enough = trio.Event()
            for _ in range(CLIENTS):
                sessions.start_soon(self._clients.one_after_another, enough)
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
                for _ in range(count):
                    sessions.start_soon(self._clients.session, "short")
            case "kill worker", int(number):
                with self._deed("death", str(number)):
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
            self._ledger.deeds += (
                Deed("remove", name, began, trio.current_time() + 1)
                for name in self._servers
                if f'name = "{name}"' not in action.text
            )

    async def _to_server(self, kind: str, server: ServerProcess) -> None:
        match kind:
            case "kill":
                with self._deed("kill", server.name):
                    await server.kill()
            case "start":
                await server.start(self._nursery)
            case "freeze":
                server.freeze()
            case "thaw":
                server.thaw()
            case "refuse":
                with self._deed("refuse", server.name):
                    await server.order("refuse")
            case order:
                await server.order(order)

    @contextmanager
    def _deed(self, kind: str, target: str) -> Iterator[None]:
        began = trio.current_time()
        yield
        self._ledger.deeds.append(Deed(kind, target, began, trio.current_time()))

    # Afterwards

    async def _leases(self) -> tuple[int, int]:
        """How many connections the servers take at once under a limit, and how many beyond it."""
        text = configs.base(SERVERS, f"max_connections = {LEASES}").replace('"20s"', '"2s"')
        await self._balancer.reload(text, accepted=True)
        return await self._clients.at_once(LEASES * len(SERVERS), more=2)
