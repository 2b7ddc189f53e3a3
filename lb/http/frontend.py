"""The settings of an http listener that apply to its new requests."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from lb.events import HttpRequest, UnloggedRequest
from lb.http.answers import RedirectTarget, RespondTarget
from lb.http.carrier import Responder
from lb.http.kept import KeptConnections
from lb.http.open_files import Directories
from lb.http.response_changes import ResponseChanges
from lb.http.routes import Router, all_routes
from lb.http.step_factory import make_steps
from lb.http.steps import Step
from lb.http.upstream_request import PoolTarget
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead, RequestHeads
from lb.http1.response_head import ResponseHeads
from lb.model import Files, HttpSettings, ListenerSpec, Redirect, Respond, RouteSpec, ToPool
from lb.model.address import Networks
from lb.net.deadlines import DeadlineQueue
from lb.pools.pool import Pool
from lb.proxy.bandwidth_limits import BandwidthLimits
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route, make_route
from lb.relay.epoll_splicer import EpollSplicer
from lb.relay.token_bucket import BandwidthLimit

if TYPE_CHECKING:
    from lb.http.cached_route import CachedRoute, Peers
    from lb.http.http2_support import Http2Support, Multiplexed
    from lb.http.viewer_access import ViewerAccess

__all__ = ["DRAIN_GRACE", "FIRST_REQUEST_GRACE", "HttpFrontend", "RunningRoute"]

LINGER_TIME = 2.0
"""Seconds in which a client whose connection is closed may take the last response, while its own bytes are dropped."""

DRAIN_GRACE = 0.5
"""Seconds without a request after which a connection that is drained is closed.

A client that is about to send one would lose it. With its next response, it is told to close."""

FIRST_REQUEST_GRACE = 2.0
"""The same for a connection that has had none yet: its client has just come for one, and may be slow."""


@attrs.frozen(eq=False)
class RunningRoute:
    """A route of the current configuration. A request keeps its route over a reload."""

    name: str
    target: Responder
    pool: str
    """The name of the route's pool; empty if it has none."""
    steps: Sequence[Step]
    changes: ResponseChanges
    """Of responses of the balancer itself. A pool's target has those of servers."""
    limit: BandwidthLimit | None = None
    """Of each response."""
    fast: PoolTarget | None = None
    """The target, if usual requests may take the fast path."""
    cached: CachedRoute | None = None
    """What it has of a cache, if usual hits may take their fast path."""
    free_bytes: int = 0
    """Bytes of a response that pass before the limit applies."""
    links: ViewerAccess | None = None
    """Requests need one of these links. They are the first of the steps."""


class HttpFrontend:
    """The listener, as its connections see it. ``closed()`` is called when a connection has ended."""

    name: str
    """The listener's name."""
    settings: HttpSettings
    heads: RequestHeads
    """Heads seen before; each knows its route, so a new configuration begins with none."""
    header_queue: DeadlineQueue
    keep_alive_queue: DeadlineQueue
    idle_queue: DeadlineQueue
    trusted_proxies: Networks
    serve_hit: Callable[..., bool]
    """:func:`lb.http.cache_hit.serve_hit`, once a route has a cache."""
    record: type[HttpRequest]
    """The record of a request."""
    is_recorded: bool
    """Somebody wants the records."""
    records_connections: bool
    """The same, for those of connections."""

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        self.closed = closed
        self.context = context
        assert isinstance(context.splicer, EpollSplicer)  # noqa: S101 - HttpMode.read_settings has looked
        self.splicer = context.splicer
        self.loop = context.splicer.loop
        self.kept = context.of_mode(KeptConnections)
        self.next_id = context.of_mode(_request_ids)
        self.linger_queue = context.deadlines.queue("linger", LINGER_TIME)
        self.drain_queue = context.deadlines.queue("drain", DRAIN_GRACE)
        self._response_heads = context.of_mode(_response_heads)
        self.limits = BandwidthLimits(context.deadlines, context.clock, context.place.workers)
        """The limits of connections that are open, also of those that are limited no more."""
        self.cache_peers: Peers | None = None
        """The caches of the other workers, if there are any."""
        self.http2: Http2Support | None = None
        """Once the configuration offers HTTP/2."""
        self.multiplexed: set[Multiplexed] = set()
        """Open connections."""
        self.is_limited = False
        """New connections have limits of their bandwidth."""
        self.closes = False
        """Each response closes its connection."""
        self.draining = False
        """The listener accepts no more."""

    def configure(self, spec: ListenerSpec, settings: HttpSettings, pools: Mapping[str, Pool]) -> None:
        """Apply new settings. The TLS contexts of the pools exist already."""
        deadlines = self.context.deadlines
        self.name = spec.name
        self.settings = settings
        self.trusted_proxies = settings.trusted_proxies
        self.record = HttpRequest if settings.access_log else UnloggedRequest
        self.is_recorded = settings.access_log or self.context.is_counting
        self.records_connections = self.context.is_counting or self.context.is_debugging
        self.header_queue = deadlines.queue("header", spec.header_timeout)
        self.keep_alive_queue = deadlines.queue("idle_client", settings.keep_alive or spec.header_timeout)
        self.idle_queue = deadlines.queue("idle", settings.idle_timeout)
        self.heads = self._new_heads(settings)
        if self.http2 is not None:
            self.http2.configure(self._new_heads(settings), settings.max_header)
        self._router = Router([(route, self._run(route, spec, pools)) for route in all_routes(settings)])
        self.limits.configure(spec.bandwidth)
        self.is_limited = bool(spec.bandwidth)
        self.draining = False
        self.closes = not settings.keep_alive
        self.kept.close_outdated()

    def _run(self, route: RouteSpec, spec: ListenerSpec, pools: Mapping[str, Pool]) -> RunningRoute:
        responder = self._responder(route, spec, pools)
        pool = route.target.pool if isinstance(route.target, ToPool) else ""
        changes = ResponseChanges(route)
        links, steps = make_steps(spec.name, route, self.context)
        limit = BandwidthLimit(route.limit_rate) if route.limit_rate else None
        running = RunningRoute(
            route.name, responder, pool, steps, changes, limit, free_bytes=route.limit_rate_after, links=links
        )
        if limit or any(step is not links for step in steps):
            return running
        if isinstance(responder, PoolTarget):
            return attrs.evolve(running, fast=responder) if responder.is_plain and not links else running
        if route.cache is None or changes:
            return running
        from lb.http.cache_target import CacheTarget  # noqa: PLC0415 - only who has a cache needs it

        assert isinstance(responder, CacheTarget)  # noqa: S101 - see _responder
        return attrs.evolve(running, cached=responder.cached)

    def _responder(self, route: RouteSpec, spec: ListenerSpec, pools: Mapping[str, Pool]) -> Responder:
        """Return what answers the requests of a route."""
        target = route.target
        if isinstance(target, Redirect):
            return RedirectTarget(target)
        if isinstance(target, Respond):
            return RespondTarget(target)
        if isinstance(target, Files):
            from lb.http.files import FilesTarget  # noqa: PLC0415 - it loads tables that other listeners do not need

            return FilesTarget(
                self.context.of_mode(_directories).of(target.directory), route.strip_prefix, route.add_prefix
            )
        made = make_route(pools[target.pool], spec, self.context.deadlines, self.context.tls)
        if route.cache is None:
            return self._pool_target(made, route)
        from lb.http.cache_target import CacheTarget  # noqa: PLC0415 - only who has a cache needs it
        from lb.http.cache_zones import CacheZones  # noqa: PLC0415 - the same
        from lb.http.cached_route import CachedRoute  # noqa: PLC0415 - the same
        from lb.http.cdn_loop import cdn_identity, with_cdn_loop  # noqa: PLC0415 - only who has a cache needs it

        identity = cdn_identity(self.context.secret)
        pool_target = self._pool_target(made, with_cdn_loop(route, identity))
        zone = self.context.of_mode(CacheZones).of(route.cache.zone)
        cached = CachedRoute(
            route.cache,
            zone,
            pool_target,
            listener=spec.name,
            idle_queue=self.idle_queue,
            max_header=self.settings.max_header,
            peers=self.cache_peers,
            identity=identity,
        )
        return CacheTarget(cached)

    def _pool_target(self, made: Route, route: RouteSpec) -> PoolTarget:
        kind: type[PoolTarget] = PoolTarget
        if made.pool.spec.http.protocol == "h2":
            from lb.http.http2_target import Http2PoolTarget  # noqa: PLC0415 - only who has such servers needs it

            kind = Http2PoolTarget
        return kind(self.context, self.loop, made, route, self._response_heads)

    def _new_heads(self, settings: HttpSettings) -> RequestHeads:
        if all(route.viewer_secret is None for route in settings.routes):
            return RequestHeads()
        from lb.http.viewer_links import LinkedHeads  # noqa: PLC0415 - only who has links needs it

        return LinkedHeads(self._links_of)

    def _links_of(self, head: RequestHead) -> ViewerAccess | None:
        head.route = route = self.find(head)
        return None if route is None else route.links

    def find(self, head: RequestHead) -> RunningRoute | None:
        """Return the route of a request; None if no route takes it. Raises MalformedError for a refused path."""
        path = b"/" if head.target == b"*" else head.path
        return self._router.find(head.host, path, head.method)

    def route_of(self, head: RequestHead) -> RunningRoute | None:
        """Return the route of a head that was not seen before; None also if its path is refused."""
        shared = head.without_cookie or head
        try:
            route: RunningRoute | None = shared.route or self.find(shared)
        except MalformedError:  # the exchange answers it
            return None
        head.route = shared.route = route
        return route


def _directories(context: ConnectionContext) -> Directories:
    assert isinstance(context.splicer, EpollSplicer)  # noqa: S101 - see HttpFrontend
    return Directories(context.splicer.loop, context.descriptors, context.deadlines)


def _response_heads(_context: ConnectionContext) -> ResponseHeads:
    return ResponseHeads()


def _request_ids(_context: ConnectionContext) -> Callable[[], str]:
    """Return what gives this process's requests their ids: unique, and none tells another."""
    numbers = itertools.count(secrets.randbits(31))
    return map(f"{secrets.token_hex(8)}%012x".__mod__, numbers).__next__
