"""The simulation: one or several real balancers, each on a simulated host, in virtual time."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial

import trio

from lb.model import Config
from lb.model.connection import ConnectionFilter
from lb.net.resolver import name_service
from lb.tools.rehearse.clients import Clients
from lb.tools.rehearse.faults import inject
from lb.tools.rehearse.host import virtual_names
from lb.tools.rehearse.node import VirtualNode
from lb.tools.rehearse.recorder import Recorder
from lb.tools.rehearse.repeatable import make_repeatable
from lb.tools.rehearse.router import VirtualRouter
from lb.tools.rehearse.scenario import Scenario
from lb.tools.rehearse.servers import VirtualServers
from lb.tools.rehearse.sockets import VirtualClient
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["simulate"]


def simulate(config: Config, scenario: Scenario, progress: Callable[[int], None] = lambda _percent: None) -> Recorder:
    """Run a rehearsal. Calls ``progress(percent)`` after each hundredth.

    The process is deterministic from now on: see :func:`lb.tools.rehearse.repeatable.make_repeatable`.
    """
    make_repeatable(scenario.seed)
    clock = VirtualClock()
    simulation = Simulation(config, scenario, clock)
    for percent in range(100):
        clock.at(scenario.duration * percent / 100, partial(progress, percent))
    trio.run(simulation.run, clock=clock, instruments=[clock])
    return simulation.recorder


class Simulation:
    """The balancers with their simulated hosts, clients and servers."""

    def __init__(self, config: Config, scenario: Scenario, clock: VirtualClock) -> None:
        self.recorder = Recorder(scenario.duration)
        self._config = config
        self._scenario = scenario
        self._clock = clock
        configs = [config, *(reload.config for reload in scenario.reloads)]
        self._servers = VirtualServers(clock, scenario, configs, random.Random(random.random()))  # noqa: S311 - seeded on purpose
        self._nodes = [
            VirtualNode(name, clock, self._servers, self.recorder, scenario.detect) for name in scenario.nodes or ("",)
        ]
        self._router = VirtualRouter(self._nodes, clock, self.recorder)

    async def run(self) -> None:
        name_service.set(virtual_names)
        async with trio.open_nursery() as nursery:
            for node in self._nodes:
                await node.start(nursery, self._config)
            self._schedule()
            await self._clock.run(self._scenario.duration)
            every = ConnectionFilter(most=sys.maxsize)
            live = [each for node in self._nodes for each in await node.balancer.data_plane.live(every)]
            self.recorder.finish(self._clock.now, live, self._servers.stalled)
            nursery.cancel_scope.cancel()

    def _schedule(self) -> None:
        """Schedule the faults, reloads and clients of the scenario."""
        clock, scenario = self._clock, self._scenario
        inject(scenario.fault_specs, clock, self._servers, self.recorder)
        for node in self._nodes:
            node.schedule(scenario.node_fault_specs)
        for reload in scenario.reloads:
            clock.at(reload.at, partial(self.recorder.reloading, reload.at, reload.file))
            for node in self._nodes:
                node.schedule_reload(reload)
        for spec in scenario.clients:
            Clients(spec, clock, random.Random(random.random()), self._arrives).begin()  # noqa: S311 - seeded on purpose

    def _arrives(self, listener: str, client: VirtualClient, peer: tuple[str, int]) -> None:
        self.recorder.client_arrived(self._clock.now)
        self._router.connect(listener, client, peer)
