"""What all demos are made of: a balancer with its admin endpoint, and messages for the view."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from lb.admin.admin import Admin
from lb.announce.announcer import Announcer
from lb.cluster.cluster import Cluster
from lb.control.balancer import Balancer
from lb.control.plan import plan
from lb.events import AdminStarted, Event
from lb.events.base import Observers
from lb.model import Config
from lb.tools.demo.server_group import Tone

__all__ = ["BaseScene", "DemoEvent"]


@attrs.frozen
class DemoEvent:
    """A message for the view. ``at`` is in seconds since the start."""

    at: float
    text: str
    tone: Tone


class BaseScene:
    """A running demo without its view. Passes its events to ``sink``; who sets ``over`` ends it."""

    def __init__(self, sink: Callable[[DemoEvent], None]) -> None:
        self.over = trio.Event()
        self.admin = ""
        """Address of the admin endpoint."""
        self._sink = sink
        self._started = trio.current_time()
        self._observers = Observers(self._observe)
        self.balancer = Balancer(self._observers)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return trio.current_time() - self._started

    def listener_address(self, name: str) -> str:
        """Return the address of a listener: ``127.0.0.1:40001``."""
        [address] = self.balancer.bound_of(name)
        return address

    def listener_port(self, name: str) -> int:
        return int(self.listener_address(name).rpartition(":")[2])

    @asynccontextmanager
    async def balancing(self, config: Config) -> AsyncGenerator[trio.Nursery]:
        """Run the balancer. The block gets a nursery for its clients, and both end with it."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.balancer.run, config)
            async with trio.open_nursery() as clients:
                cluster = Cluster(self.balancer, self._observers, clients)
                admin = Admin(self.balancer, Announcer(None), cluster, self._observers, self, clients)
                admin.follow(config.admin, await admin.open(config.admin))
                yield clients
                clients.cancel_scope.cancel()
            self.balancer.stop_now()

    async def reload(self) -> tuple[str, ...]:
        """Apply the configuration again."""
        await self.balancer.reload(self.balancer.written)
        return ()

    async def preview(self) -> tuple[str, ...]:
        """Return the changes that a reload makes: none."""
        return plan(self.balancer.written, self.balancer.written).lines()

    def report(self, text: str, tone: Tone = "plain") -> None:
        """Pass a message to the view."""
        self._sink(DemoEvent(self.elapsed, text, tone))

    def _observe(self, event: Event) -> None:
        match event:
            case AdminStarted(bind=bind):
                self.admin = bind
            case _ if event.level not in ("info", "debug"):
                self.report(event.name, "bad")
