"""The settings of a forward listener, as its connections and its requests see them."""

from __future__ import annotations

from collections.abc import Callable

from lb.forward.dial import Dial, DirectDial, ParentDial, Wires
from lb.forward.identity import Identity
from lb.forward.target import ForwardTarget
from lb.http.carrier import Responder
from lb.http.exchange import ExchangeCarrier
from lb.http.frontend import HttpFrontend
from lb.http.upstream_request import PoolTarget
from lb.http.user_list import UserList
from lb.model.forward import ForwardSettings
from lb.net.deadlines import DeadlineQueue
from lb.proxy.context import ConnectionContext
from lb.proxy.route import Route

__all__ = ["ProxyFrontend"]


class ProxyFrontend(HttpFrontend):
    """A listener whose clients name the servers."""

    proxy: ForwardSettings
    users: UserList | None
    """None: anybody may use the proxy."""
    wires: Wires
    parents: Route | None
    """The route of tunnels to the parents; None: it connects itself."""
    tunnel_queue: DeadlineQueue
    half_close_queue: DeadlineQueue

    def __init__(self, context: ConnectionContext, closed: Callable[[], None]) -> None:
        super().__init__(context, closed)
        self.identity = Identity(context.secret)

    def dial(self, target: ForwardTarget, client: ExchangeCarrier, via: bytes) -> Dial:
        """Return a connect to a target, which has not begun. ``via`` is the client's own."""
        if self.parents is None:
            return DirectDial(self.context, lambda: self.wires, target)
        return ParentDial(self.context, self.wires.reachable, target, self.parents, client, via)

    def note(self, protocol: str, result: str, target: bytes) -> None:
        """Count what a client has asked for, if somebody wants the counts."""
        if self.context.is_counting:
            self.context.note_forward(self.name, protocol, result, target)

    def cached(self, target: PoolTarget) -> Responder:
        """Return what asks this server, with the listener's cache in front if it has one."""
        rules = self.proxy.cache
        if rules is None:
            return target
        from lb.http.cache_target import CacheTarget  # noqa: PLC0415 - only who has a cache needs it
        from lb.http.cache_zones import CacheZones  # noqa: PLC0415 - the same
        from lb.http.cached_route import CachedRoute  # noqa: PLC0415 - the same
        from lb.http.cdn_loop import cdn_identity  # noqa: PLC0415 - the same

        zone = self.context.of_mode(CacheZones).of(rules.zone)
        cached = CachedRoute(
            rules,
            zone,
            target,
            listener=self.name,
            idle_queue=self.idle_queue,
            max_header=self.settings.max_header,
            identity=cdn_identity(self.context.secret),
        )
        return CacheTarget(cached)
