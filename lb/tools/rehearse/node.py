"""A balancer of a rehearsal: its process, which may die and start anew."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Literal, TypeAlias

import trio

from lb.control.balancer import Balancer, why_rejected
from lb.events import Event
from lb.model import Config
from lb.model.address import Client
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from lb.tools.rehearse.host import VirtualHost
from lb.tools.rehearse.placement import hashes, placed
from lb.tools.rehearse.recorder import Recorder
from lb.tools.rehearse.scenario import NodeFaultSpec, Reload
from lb.tools.rehearse.servers import VirtualServers
from lb.tools.rehearse.sockets import VirtualClient
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["NodeCondition", "VirtualNode"]

NodeCondition: TypeAlias = Literal["serving", "silent", "away"]
"""``silent``: it has vanished, and new sessions still come to it. ``away``: they go to the others."""


class VirtualNode:
    """One balancer with its machine. ``name`` is empty if it is the only one; ``detect`` is that of the scenario."""

    condition: NodeCondition = "serving"
    away_from = math.inf
    """When the sessions of one that is ``silent`` begin to go to the others."""
    balancer: Balancer

    def __init__(
        self, name: str, clock: VirtualClock, servers: VirtualServers, recorder: Recorder, detect: float
    ) -> None:
        self.name = name
        self._clock = clock
        self._servers = servers
        self._recorder = recorder
        self._detect = detect
        self._nursery: trio.Nursery
        self._host: VirtualHost
        self._config: Config
        self._latest: NodeFaultSpec | None = None
        self._running = False
        self._unchecked: set[str] = set()
        """Pools of which no server has passed a check since this start."""

    async def start(self, nursery: trio.Nursery, config: Config) -> None:
        """Start the balancer: it serves at once."""
        self._nursery, self._config, self._running = nursery, config, True
        await self._run()

    async def _run(self) -> None:
        if not self._running:  # it has died meanwhile
            return
        clock, recorder = self._clock, self._recorder
        self._host = host = VirtualHost(
            clock,
            self._servers,
            joined=lambda waited: recorder.client_joined(clock.now, waited),
            refused=lambda bind: recorder.client_refused(clock.now, bind),
            passed=lambda pool: self._passed(host, pool),
        )
        self.balancer = Balancer(self._sink, host=host, node=self.name)
        await self._nursery.start(self.balancer.run, self._config)
        if not self._unchecked:
            self._rise()

    def _sink(self, event: Event) -> None:
        self._recorder.observe(self._clock.now, event, self.name)

    # Clients

    def connect(self, listener: str, client: VirtualClient, peer: tuple[str, int]) -> None:
        """Let a client connect to a listener."""
        spec = self.balancer.config.listeners.get(listener)
        listening = None if spec is None else self._host.listening.get(spec.bind[0])
        if listening is None:
            self._recorder.client_refused(self._clock.now, listener)
        else:
            self._recorder.node_took(self._clock.now, self.name)
            listening.connect(client, peer)

    def _pool(self, listener: str) -> Pool | None:
        spec = self.balancer.config.listeners.get(listener)
        return None if spec is None else self.balancer.pools.get(next(iter(spec.settings.pools)))

    def hashes(self, listener: str) -> bool:
        """Return whether the listener's pool gives each client a server of its own."""
        pool = self._pool(listener)
        return pool is not None and hashes(pool)

    def placed(self, listener: str, client: Client) -> str | None:
        """Return the server that a client of a listener would get here now; None if there is none."""
        pool = self._pool(listener)
        return None if pool is None else placed(pool, client, self._takes_connects)

    def _takes_connects(self, backend: Backend) -> bool:
        return bool(backend.targets) and self._servers.by_address[backend.targets[0]].takes_connects

    # Reloads

    def schedule_reload(self, reload: Reload) -> None:
        """Schedule a reload. If the balancer is away then, its next start has the new configuration."""
        self._clock.at(reload.at, lambda: self._nursery.start_soon(self._reload, reload))

    async def _reload(self, reload: Reload) -> None:
        """Reload, as SIGHUP does."""
        self._config = reload.config
        if not self._running:
            return
        try:
            await self.balancer.reload(reload.config)
        except Exception as exception:  # noqa: BLE001 - reported as an event; the configuration is unchanged
            for event in why_rejected("reload", exception):
                self._sink(event)

    # Faults

    def schedule(self, fault_specs: Iterable[NodeFaultSpec]) -> None:
        """Schedule the faults that are this balancer's. The one that began last is in effect."""
        for spec in fault_specs:
            if self.name in spec.nodes:
                self._clock.at(spec.at, partial(self._begin, spec))
                if spec.lasts != math.inf:
                    self._clock.at(spec.at + spec.lasts, partial(self._end, spec))

    def _begin(self, spec: NodeFaultSpec) -> None:
        self._latest = spec
        self._recorder.node_injected(self._clock.now, self.name, spec.does)
        if spec.does == "recover":
            self._recover()
        else:
            self._stop("silent" if spec.does == "vanish" else "away")

    def _end(self, spec: NodeFaultSpec) -> None:
        if self._latest is spec:
            self._latest = None
            self._recorder.node_injected(self._clock.now, self.name, "recover")
            self._recover()

    def _stop(self, condition: NodeCondition) -> None:
        """End the process, with all of its sessions."""
        if self._running:
            self._running = False
            self.balancer.stop_now()
        if self.condition == "away":
            return
        self.condition = condition
        if condition == "silent":
            self.away_from = self._clock.now + self._detect
            self._clock.at(self.away_from, partial(self._detected, self.away_from))

    def _detected(self, due: float) -> None:
        if self.condition == "silent" and self.away_from == due:
            self.condition = "away"
            self._recorder.node_left(self._clock.now, self.name)

    def _recover(self) -> None:
        """Start the process anew. It serves after the first checks, as ``[announce]`` has it."""
        if not self._running:
            self._running = True
            self._unchecked = {name for name, pool in self._config.pools.items() if pool.health and pool.servers}
            self._nursery.start_soon(self._run)

    def _passed(self, host: VirtualHost, pool: str) -> None:
        """A check of a server of this pool has passed."""
        if pool in self._unchecked and host is self._host:
            self._unchecked.discard(pool)
            if not self._unchecked:
                self._rise()

    def _rise(self) -> None:
        """Sessions may come, after the ``rise`` of ``[announce]``."""
        if self.condition != "serving":
            announce = self._config.announce
            self._clock.after(0 if announce is None else announce.rise, partial(self._serve, self.balancer))

    def _serve(self, balancer: Balancer) -> None:
        if self._running and self.balancer is balancer and self.condition != "serving":
            self.condition = "serving"
            self._recorder.node_back(self._clock.now, self.name)
