"""The servers of absolute-form requests: each is a pool of one server, whose addresses are judged anew with each answer
of DNS. Connections to them are kept, as those to servers of the configuration.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from lb.forward.failure import ForwardFailure
from lb.forward.proxied_images import PROXIED_ROUTE, ProxiedImages
from lb.forward.proxy_frontend import ProxyFrontend
from lb.forward.racing_connector import RacingConnector
from lb.forward.reachable import Addresses
from lb.forward.target import ForwardTarget, parse_authority
from lb.http.carrier import Responder
from lb.http.kept import KeptConnections
from lb.http.upstream_request import PoolTarget
from lb.http1.response_head import ResponseHeads
from lb.http1.wire import VIA
from lb.model import HttpPoolSpec, ListenerSpec, PassiveSpec, PoolSpec, ServerSpec
from lb.model.address import Address
from lb.net.cooperate import done_at_once
from lb.pools.pool import Pool
from lb.proxy.route import make_route

__all__ = ["Origin", "Origins"]

MOST_ORIGINS = 1000
"""Servers that are remembered. Those that nobody has asked for the longest are forgotten, with their connections."""
MOST_KEPT = 4
"""Idle connections to each of them: clients choose how many servers there are."""
_HTTP_PORT = 80


class Origin:
    """A server that clients have named, at these addresses."""

    def __init__(self, target: ForwardTarget, refused: ForwardFailure | None) -> None:
        self.target = target
        self.refused = refused
        """Why nobody may ask it; None if that depends on its addresses."""
        self.pool: Pool | None = None
        """Made when it is asked first."""
        self.responder: Responder | None = None


class Origins:
    """The servers that the clients of a listener have named, under one configuration."""

    def __init__(self, frontend: ProxyFrontend, spec: ListenerSpec) -> None:
        self._frontend = frontend
        self._context = frontend.context
        self._spec = spec
        self._wires = frontend.wires
        self._kept = self._context.of_mode(KeptConnections)
        self._heads = ResponseHeads()
        self._images = ProxiedImages(VIA.split()[-1], hide_client=frontend.proxy.hide_client)
        self._known: OrderedDict[bytes, Origin] = OrderedDict()

    def of(self, host: bytes) -> Origin:
        """Return the server of ``host:port``, as the head of a request has it. Raises MalformedError."""
        origin = self._known.get(host)
        if origin is not None:
            self._known.move_to_end(host)
            return origin
        target = parse_authority(host, _HTTP_PORT)
        origin = self._known[host] = Origin(target, self._wires.reachable.refusal(target, tunnel=False))
        if len(self._known) > MOST_ORIGINS:
            self._forget(self._known.popitem(last=False)[1])
        return origin

    def responder(self, origin: Origin, addresses: Addresses) -> Responder:
        """Return what asks the server at these addresses."""
        if origin.pool is None or origin.responder is None:
            origin.pool = self._make_pool(origin.target)
            origin.responder = self._make_responder(origin.pool)
        (backend,) = origin.pool.backends.values()
        backend.targets = addresses
        return origin.responder

    def _make_pool(self, target: ForwardTarget) -> Pool:
        proxy = self._frontend.proxy
        spec = PoolSpec(
            "",
            (ServerSpec(target.text, Address.of(target.host, target.port)),),
            retries=0,
            connect_timeout=proxy.connect_timeout,
            health=None,
            passive=PassiveSpec(failures=0),
            http=HttpPoolSpec(keep_alive=MOST_KEPT, response_timeout=proxy.response_timeout),
        )
        pool = Pool("", self._context.sink, lambda _pool, _backend, _change: None)
        pool.apply(done_at_once(pool.prepare(spec)), {}, self._context.clock())
        return pool

    def _make_responder(self, pool: Pool) -> Responder:
        frontend = self._frontend
        route = make_route(pool, self._spec, self._context.deadlines, self._context.tls)
        target = PoolTarget(self._context, frontend.loop, route, PROXIED_ROUTE, self._heads, self._images)
        target.new_connector = partial(RacingConnector, self._wires)
        return frontend.cached(target)

    def leave(self) -> None:
        """A new configuration has its own. Requests under way go on."""
        for origin in self._known.values():
            self._forget(origin)

    def _forget(self, origin: Origin) -> None:
        """Keep no more connections to a server. Who asks it still, such as for the next slice, goes on."""
        if origin.pool is not None:
            for backend in origin.pool.backends.values():
                backend.leaving = True
                self._kept.close_all(backend)
