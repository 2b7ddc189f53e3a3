"""The settings of a tcp listener that apply to its new connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lb.model import ListenerSpec, TcpSettings
from lb.model.listener import find
from lb.net.deadlines import DeadlineQueue
from lb.pools.pool import Pool
from lb.proxy.bandwidth_limits import BandwidthLimits
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route, make_route

__all__ = ["Frontend"]


class Frontend:
    """The listener, as its connections see it. ``closed()`` is called when a connection has ended."""

    name: str
    """The listener's name."""
    route: Route
    """The route of clients whose server name (SNI) has no route of its own."""
    idle_queue: DeadlineQueue
    half_close_queue: DeadlineQueue
    bandwidth: BandwidthLimits | None
    """None: without limits."""

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        self.closed = closed
        self._context = context
        self._routes: dict[str, Route] = {}
        self._limits = BandwidthLimits(context.deadlines, context.clock, context.place.workers)
        """The limits of connections that are open, also of those that are limited no more."""

    def configure(self, spec: ListenerSpec, settings: TcpSettings, pools: Mapping[str, Pool]) -> None:
        """Apply new settings. The TLS contexts of the pools exist already."""
        deadlines, tls = self._context.deadlines, self._context.tls
        self.name = spec.name
        self.route = make_route(pools[settings.pool], spec, deadlines, tls)
        self._routes = {name: make_route(pools[pool], spec, deadlines, tls) for name, pool in settings.sni or ()}
        self._no_tls_route = make_route(pools[settings.no_tls], spec, deadlines, tls) if settings.no_tls else self.route
        self.idle_queue = deadlines.queue("idle", settings.idle_timeout)
        self.half_close_queue = (
            deadlines.queue("half_close", settings.half_close_timeout)
            if settings.half_close_timeout <= settings.idle_timeout
            else self.idle_queue
        )
        self._limits.configure(spec.bandwidth)
        self.bandwidth = self._limits if spec.bandwidth else None

    def route_for(self, name: str | None) -> Route:
        """Return the route for this server name (SNI): "" without SNI, None if no filter has found a ClientHello."""
        if name is None:
            return self._no_tls_route
        return find(self._routes, name) or self.route if name else self.route
