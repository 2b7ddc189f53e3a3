"""A rehearsal as it runs: the balancer itself, on a machine and in a time that are imagined."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial

import trio

from lb.events import Event
from lb.figures import Wanted
from lb.model import Config
from lb.rehearse.agenda import Agenda
from lb.rehearse.clients import Clients
from lb.rehearse.happenings import befall
from lb.rehearse.host import VirtualHost, VirtualNames
from lb.rehearse.repeatable import make_repeatable
from lb.rehearse.scenario import Reload, Scenario
from lb.rehearse.sockets import ListeningSocket
from lb.rehearse.tally import Tally
from lb.rejection import why_rejected
from lb.server import Balancer

__all__ = ["play"]


def play(config: Config, scenario: Scenario, progress: Callable[[int], None] = lambda _percent: None) -> Tally:
    """Rehearse, from the start to the end; ``progress(percent)`` hears of each hundredth.

    From here on the process is repeatable: see :func:`lb.rehearse.repeatable.make_repeatable`.
    """
    make_repeatable(scenario.seed)
    agenda = Agenda()
    stage = Stage(config, scenario, agenda)
    for percent in range(100):
        agenda.at(scenario.duration * percent / 100, partial(progress, percent))
    trio.run(stage.run, clock=agenda, instruments=[agenda])
    return stage.tally


class Stage:
    """Everything put together."""

    def __init__(self, config: Config, scenario: Scenario, agenda: Agenda) -> None:
        self.tally = Tally(scenario.duration)
        self._config = config
        self._scenario = scenario
        self._agenda = agenda
        configs = [config, *(reload.config for reload in scenario.reloads)]
        self._host = VirtualHost(
            agenda,
            scenario,
            configs,
            random.Random(random.random()),  # noqa: S311 - repeats itself, as everything here
            joined=lambda waited: self.tally.client_joined(agenda.now, waited),
            refused=lambda bind: self.tally.client_refused(agenda.now, bind),
        )
        self._balancer = Balancer(self._sink, host=self._host)
        self._nursery: trio.Nursery

    def _sink(self, event: Event) -> None:
        self.tally.observe(self._agenda.now, event)

    async def run(self) -> None:
        trio.socket.set_custom_hostname_resolver(VirtualNames())
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._balancer.run, self._config)
            self._plan()
            await self._agenda.run(self._scenario.duration)
            live = await self._balancer.carrier.live(Wanted(most=sys.maxsize))
            self.tally.finish(self._agenda.now, live)
            self._nursery.cancel_scope.cancel()

    def _plan(self) -> None:
        """All that the scenario holds."""
        agenda = self._agenda
        befall(self._scenario.happenings, agenda, self._host, self.tally)
        for reload in self._scenario.reloads:
            agenda.at(reload.at, partial(self._nursery.start_soon, self._reload, reload))
        for spec in self._scenario.clients:
            arrived = partial(self._arrived, spec.listener)
            Clients(spec, agenda, random.Random(random.random()), self._find, arrived).begin()  # noqa: S311 - the same

    def _find(self, listener: str) -> ListeningSocket | None:
        spec = self._balancer.config.listeners.get(listener)
        return None if spec is None else self._host.listening.get(spec.bind[0])

    def _arrived(self, listener: str, refused: bool) -> None:
        self.tally.client_arrived(self._agenda.now)
        if refused:
            self.tally.client_refused(self._agenda.now, listener)

    async def _reload(self, reload: Reload) -> None:
        """As SIGHUP does."""
        self.tally.reloading(self._agenda.now, reload.file)
        try:
            await self._balancer.reload(reload.config)
        except Exception as exception:  # noqa: BLE001 - all that a reload may raise is told, and nothing has changed
            for event in why_rejected("reload", exception):
                self._sink(event)
