"""A request of a route with a cache that a server answers directly: its response is not stored."""

from __future__ import annotations

from collections.abc import Mapping

from lb.cache.cache_status import Forward, cache_status
from lb.cache.invalidation import also_invalidated, invalidates
from lb.cache.zone import CacheResult
from lb.http.cached_route import PEER_RESULT, CachedRoute
from lb.http.carrier import ExchangeToServe
from lb.http.header_edits import FieldChange
from lb.http.response_changes import Variant
from lb.http.server_carrier import ServerCarrier
from lb.http.upstream_request import UpstreamRequest
from lb.http1.grammar import MalformedError
from lb.http1.response_head import ResponseHead
from lb.model.purge import Purge
from lb.pools.backend import Backend

__all__ = ["FORWARD", "PassedRequest", "pass_through"]

_NO_RESULT = frozenset((PEER_RESULT,))
FORWARD: Mapping[CacheResult, Forward] = {"MISS": "miss", "EXPIRED": "stale", "BYPASS": "bypass"}
"""Why the server was asked."""


def pass_through(cached: CachedRoute, exchange: ExchangeToServe, result: CacheResult | None) -> None:
    """Let a server of the pool answer the client itself."""
    exchange.upstream = request = PassedRequest(exchange, cached, result)
    request.start()


class PassedRequest(UpstreamRequest):
    """A request whose response is not stored. ``result`` is None for one that has nothing to do with the cache."""

    def __init__(self, exchange: ExchangeToServe, cached: CachedRoute, result: CacheResult | None) -> None:
        super().__init__(exchange, cached.pool_target)
        self._cached = cached
        self._result = result
        if result is not None and not exchange.carrier.from_peer:
            cached.zone.results[result] += 1
        exchange.cache = result

    @property
    def changes_responses(self) -> bool:
        return True

    def variant(self, head: ResponseHead, backend: Backend) -> Variant | None:
        """Add what the cache did."""
        if self.exchange.carrier.from_peer:
            return Variant(b"", FieldChange(_NO_RESULT))
        found = super().variant(head, backend) if super().changes_responses else None
        result = self._result
        status = cache_status(forward="method" if result is None else FORWARD[result])
        change = FieldChange(self._cached.replaced_names, tuple(self._cached.added(result, status)))
        return Variant(b"", change) if found is None else Variant(found.coding, found.change.then(change))

    def deliver(self, server: ServerCarrier, head: ResponseHead, rest: memoryview) -> None:
        if not invalidates(self.exchange.head.method, head.status):
            super().deliver(server, head, rest)
            return
        what = Purge.of_keys(self._invalidated(head))
        if self._cached.purges_at_once:
            self._cached.zone.purge_keys(what.texts)
            super().deliver(server, head, rest)
        else:
            server.response_flow = held = _Held(server, head, bytes(rest))
            self._cached.purge(what, lambda _count: self._deliver_held(held))

    def _invalidated(self, head: ResponseHead) -> set[bytes]:
        """Return the keys of what may be wrong now: a request that changes something has succeeded."""
        cached, scheme, asked = self._cached, self.exchange.scheme, self.exchange.head
        fields = [(field.name, field.value) for field in head.block.fields]
        uris = also_invalidated(scheme, asked, fields)
        return {cached.key(scheme, asked), *(cached.key_of(scheme, asked, uri) for uri in uris)}

    def _deliver_held(self, held: _Held) -> None:
        """No process finds any more what was stored: whoever gets this response finds nothing older."""
        server = held.server
        if server is not self.server:
            return  # the client has left, or the server has failed
        server.response_flow = None
        try:
            super().deliver(server, held.head, memoryview(held.rest))
        except (OSError, MalformedError) as error:
            self.server_failed(error)


class _Held:
    """A response that waits. Implements :class:`lb.http.server_carrier.ResponseFlow`: its body waits too."""

    def __init__(self, server: ServerCarrier, head: ResponseHead, rest: bytes) -> None:
        self.server = server
        self.head = head
        self.rest = rest

    def pump(self) -> None:
        """What has come stays in the socket."""
