"""A request that another worker's cache answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, get_args

from lb.cache.cache_status import cache_status
from lb.cache.content import IN_MEMORY
from lb.cache.entry import CacheEntry
from lb.cache.policy import storing
from lb.cache.stored_fields import stored_fields, tags_of
from lb.cache.zone import CacheResult
from lb.events import EndedBy, Reason
from lb.http.cached_route import PEER_RESULT, CachedRoute
from lb.http.carrier import ExchangeToServe
from lb.http.header_edits import FieldChange
from lb.http.passed_request import FORWARD
from lb.http.response_changes import Variant
from lb.http.server_carrier import ServerCarrier
from lb.http.upstream_request import PoolTarget, UpstreamRequest
from lb.http1.field import CONDITION
from lb.http1.response_head import ResponseHead
from lb.pools.backend import Backend

__all__ = ["PeerRequest"]

_RESULTS: tuple[CacheResult, ...] = get_args(CacheResult)


class PeerRequest(UpstreamRequest):
    """Passes the other worker's response on. ``without()`` is called if that worker is gone.

    A short response that is fresh is kept in the memory of this worker too.
    """

    def __init__(
        self, exchange: ExchangeToServe, cached: CachedRoute, key: bytes, peer: PoolTarget, without: Callable[[], None]
    ) -> None:
        super().__init__(exchange, peer)
        self._cached = cached
        self._key = key
        self._without = without
        self._asked_at = cached.zone.clock()
        self._generation = None if cached.context.is_purging() else cached.zone.generation
        """None: the other worker may have what was purged here."""

    @property
    def changes_responses(self) -> bool:
        return True

    def no_server(self, ended_by: EndedBy, reason: Reason) -> None:
        if ended_by == "client" or self.exchange.ended or self.exchange.status is not None:
            super().no_server(ended_by, reason)
            return
        self.end()
        self.done = True
        self._without()

    def deliver(self, server: ServerCarrier, head: ResponseHead, rest: memoryview) -> None:
        result = self._result(head)
        self.server_name_used = None
        self.exchange.cache = result or "MISS"
        self._cached.zone.results[result or "MISS"] += 1
        is_new = self._generation == self._cached.zone.generation
        if result is not None and is_new and head.fixed == len(rest) <= IN_MEMORY and self._is_plain:
            self._keep(head, bytes(rest))
        super().deliver(server, head, rest)

    @property
    def _is_plain(self) -> bool:
        head = self.exchange.head
        return head.method == b"GET" and not head.block.meanings & CONDITION

    def _result(self, head: ResponseHead) -> CacheResult | None:
        """Return what the other cache did; None if the response is not from there."""
        value = head.block.get(PEER_RESULT)
        return None if value is None or value.decode() not in _RESULTS else cast("CacheResult", value.decode())

    def variant(self, head: ResponseHead, backend: Backend) -> Variant | None:
        """Say what the other cache did, and make the changes of the route, which it leaves to this one."""
        cached, exchange = self._cached, self.exchange
        result = self._result(head)
        status = cache_status(forward=None if result is None else FORWARD.get(result))
        change = FieldChange(cached.replaced_names, tuple(cached.added(result or "MISS", status)))
        changes = cached.pool_target.changes
        found = changes.of(exchange, head, self.target.pool.backends[backend.name]) if changes else None
        return Variant(b"", change) if found is None else Variant(found.coding, change.then(found.change))

    def _keep(self, head: ResponseHead, body: bytes) -> None:
        """Keep a response in memory, if it is fresh and for all."""
        cached, zone, asked = self._cached, self._cached.zone, self.exchange.head
        fields = [(each.written_name, each.value) for each in head.block.end_to_end() if each.name != PEER_RESULT]
        now = zone.clock()
        freshness = storing(cached.rules, asked, head.status, fields, self._asked_at, now)
        if freshness is None or not freshness.is_fresh(now) or cached.vary_of(fields) != ():
            return
        kept = stored_fields(cached.rules, fields, now)
        zone.keep(CacheEntry(self._key, b"", head.status, kept, freshness, body, tags_of(fields)))
