"""A request of a route with a cache that a server answers directly: its response is not stored."""

from __future__ import annotations

from collections.abc import Mapping

from lb.cache.cache_status import Forward, cache_status
from lb.cache.invalidation import also_invalidated, invalidates
from lb.cache.zone import CacheResult
from lb.http.cached_route import CachedRoute
from lb.http.carrier import ExchangeToServe
from lb.http.header_edits import FieldChange
from lb.http.response_changes import Variant
from lb.http.server_connection import ServerConnection
from lb.http.upstream_request import UpstreamRequest
from lb.http1.response_head import ResponseHead
from lb.pools.backend import Backend

__all__ = ["FORWARD", "PassedRequest", "pass_through"]

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
        if result is not None:
            cached.zone.results[result] += 1
            exchange.cache = result

    @property
    def changes_responses(self) -> bool:
        return True

    def variant(self, head: ResponseHead, backend: Backend) -> Variant | None:
        """Add what the cache did."""
        found = super().variant(head, backend) if super().changes_responses else None
        result = self._result
        status = cache_status(forward="method" if result is None else FORWARD[result])
        change = FieldChange(fields=tuple(self._cached.added(result or "BYPASS", status)))
        return Variant(b"", change) if found is None else Variant(found.coding, found.change.then(change))

    def deliver(self, server: ServerConnection, head: ResponseHead, rest: memoryview) -> None:
        if invalidates(self.exchange.head.method, head.status):
            self._invalidate(head)
        super().deliver(server, head, rest)

    def _invalidate(self, head: ResponseHead) -> None:
        """A request that changes something has succeeded: what is stored may be wrong now."""
        cached, exchange = self._cached, self.exchange
        keys = {cached.key(exchange.scheme, exchange.head)}
        for uri in also_invalidated(
            exchange.scheme, exchange.head, [(field.name, field.value) for field in head.block.fields]
        ):
            keys.add(cached.key_of(exchange.scheme, exchange.head, uri))
        for key in keys:
            cached.zone.purge_key(key)
