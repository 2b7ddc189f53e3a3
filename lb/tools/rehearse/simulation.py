"""The simulation: the real balancer on a simulated host in virtual time."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial

import trio

from lb.control.balancer import Balancer, why_rejected
from lb.events import Event
from lb.model import Config
from lb.model.connection import ConnectionFilter
from lb.net.resolver import name_service
from lb.tools.rehearse.clients import Clients
from lb.tools.rehearse.faults import inject
from lb.tools.rehearse.host import VirtualHost, virtual_names
from lb.tools.rehearse.recorder import Recorder
from lb.tools.rehearse.repeatable import make_repeatable
from lb.tools.rehearse.scenario import Reload, Scenario
from lb.tools.rehearse.sockets import ListeningSocket
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
    """The balancer with its simulated host and clients."""

    def __init__(self, config: Config, scenario: Scenario, clock: VirtualClock) -> None:
        self.recorder = Recorder(scenario.duration)
        self._config = config
        self._scenario = scenario
        self._clock = clock
        configs = [config, *(reload.config for reload in scenario.reloads)]
        self._host = VirtualHost(
            clock,
            scenario,
            configs,
            random.Random(random.random()),  # noqa: S311 - seeded on purpose
            joined=lambda waited: self.recorder.client_joined(clock.now, waited),
            refused=lambda bind: self.recorder.client_refused(clock.now, bind),
        )
        self._balancer = Balancer(self._sink, host=self._host)
        self._nursery: trio.Nursery

    def _sink(self, event: Event) -> None:
        self.recorder.observe(self._clock.now, event)

    async def run(self) -> None:
        name_service.set(virtual_names)
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._balancer.run, self._config)
            self._schedule()
            await self._clock.run(self._scenario.duration)
            live = await self._balancer.data_plane.live(ConnectionFilter(most=sys.maxsize))
            self.recorder.finish(self._clock.now, live, self._host.stalled)
            self._nursery.cancel_scope.cancel()

    def _schedule(self) -> None:
        """Schedule the faults, reloads and clients of the scenario."""
        clock = self._clock
        inject(self._scenario.fault_specs, clock, self._host, self.recorder)
        for reload in self._scenario.reloads:
            clock.at(reload.at, partial(self._nursery.start_soon, self._reload, reload))
        for spec in self._scenario.clients:
            arrived = partial(self._arrived, spec.listener)
            Clients(spec, clock, random.Random(random.random()), self._find, arrived).begin()  # noqa: S311 - seeded on purpose

    def _find(self, listener: str) -> ListeningSocket | None:
        spec = self._balancer.config.listeners.get(listener)
        return None if spec is None else self._host.listening.get(spec.bind[0])

    def _arrived(self, listener: str, refused: bool) -> None:
        self.recorder.client_arrived(self._clock.now)
        if refused:
            self.recorder.client_refused(self._clock.now, listener)

    async def _reload(self, reload: Reload) -> None:
        """Reload, as SIGHUP does."""
        self.recorder.reloading(self._clock.now, reload.file)
        try:
            await self._balancer.reload(reload.config)
        except Exception as exception:  # noqa: BLE001 - reported as an event; the configuration is unchanged
            for event in why_rejected("reload", exception):
                self._sink(event)
