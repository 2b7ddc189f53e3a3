"""One request at the cache: it is looked up, and served from what is stored, or from what a server answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lb.cache.cache_status import cache_status
from lb.cache.entry import CacheEntry
from lb.cache.find_stored import find_stored
from lb.cache.policy import Reuse, is_for_one, only_if_cached, reuse, serves_stale, wanted
from lb.cache.zone import CacheResult
from lb.events import Attempt, RequestReason
from lb.http.cache_fill import Fill
from lb.http.cached_response import respond_from
from lb.http.cached_route import PEER_RESULT, CachedRoute
from lb.http.carrier import ExchangeToServe
from lb.http.passed_request import FORWARD, PassedRequest, pass_through
from lb.http.peer_request import PeerRequest
from lb.http.server_carrier import ServerCarrier
from lb.http.slices import Slices
from lb.http.upstream_request import UpstreamRequest
from lb.http1.field import CONDITION
from lb.http1.response_head import ResponseHead
from lb.model.request import HeaderFields
from lb.pools.backend import Backend

__all__ = ["CacheRead"]


class CacheRead:
    """One request at the cache. Implements Upstream and :class:`lb.http.cache_fill.FillReader`."""

    backend: Backend | None = None
    """None: the lease is the fill's."""
    used: Backend | None = None
    server_name_used: str | None = None
    attempts: tuple[Attempt, ...] = ()
    stuck = False
    done = False
    _fill: Fill | None = None
    _own = False
    """It began the fill."""
    _result: CacheResult = "MISS"

    def __init__(self, cached: CachedRoute, exchange: ExchangeToServe) -> None:
        self._cached = cached
        self.exchange = exchange
        self.head = exchange.head
        self._key = cached.key(exchange.scheme, exchange.head)
        self._slice_at = cached.slice_of(exchange.head)
        """The slice that the response begins in, for a range."""

    def start(self) -> None:
        """Look for a stored response, and serve it or ask the server."""
        cached = self._cached
        if not self.exchange.carrier.from_peer:
            cached.zone.top.note(self._key)
        if wanted(cached.rules.bypass, self.head):
            self._result = "BYPASS"
            if not self._ask_peer(partial(self._fetch, None, joins=False)):
                self._fetch(None, joins=False)
            return
        if self._slice_at is not None and self._comes_soon(self._slice_at.offset):
            self._slice_at = None
        find_stored(cached.zone, self._key, self.head, self._slice_at, self.found)

    def _comes_soon(self, offset: int) -> bool:
        """Return True if a fill of the whole body has come so far."""
        zone = self._cached.zone
        fill = zone.fills.get(zone.identity(self._key, self.head))
        return isinstance(fill, Fill) and fill.is_shared and fill.content.size >= offset

    @property
    def _identity(self) -> bytes:
        """What names the response, or the slice that it begins in."""
        return self._cached.zone.identities(self._key, self.head, self._slice_at)[-1]

    def found(self, entry: CacheEntry | None) -> None:
        """The look-up has ended."""
        if self.exchange.ended:
            return
        if entry is not None and entry.part is None:
            self._slice_at = None
        cached, zone = self._cached, self._cached.zone
        now = zone.clock()
        found = reuse(cached.rules, entry.freshness, self.head, now) if entry is not None else None
        if entry is not None and found is Reuse.FRESH:
            self._serve(entry, "HIT", cache_status(ttl=entry.freshness.time_left(now)))
        elif not self._ask_peer(partial(self._not_fresh, entry, found)):
            self._not_fresh(entry, found)

    def _ask_peer(self, without: Callable[[], None]) -> bool:
        """Let the worker that has this key answer, if it is another one. ``without``: go on if that is gone."""
        exchange, peers = self.exchange, self._cached.peers
        peer = None if peers is None or exchange.carrier.from_peer else peers.of(self._key)
        if peer is None:
            return False

        def go_on() -> None:
            exchange.upstream = self
            without()

        exchange.upstream = request = PeerRequest(exchange, self._cached, self._key, peer, go_on)
        request.start()
        return True

    def _not_fresh(self, entry: CacheEntry | None, found: Reuse | None) -> None:
        """The server has to be asked, now or beside."""
        cached, zone = self._cached, self._cached.zone
        now = zone.clock()
        if entry is None:
            self._missed()
        elif found is Reuse.STALE_WHILE_UPDATE:
            self._serve_and_update(entry)
        elif entry.identity in zone.fills and serves_stale(cached.rules, entry.freshness, "updating", now):
            self._serve_stale(entry, "UPDATING")
        elif only_if_cached(cached.rules, self.head):
            self.exchange.fail(504, "ok")
        else:
            self._result = "EXPIRED"
            self._fetch(entry)

    def _missed(self) -> None:
        cached, zone, rules = self._cached, self._cached.zone, self._cached.rules
        if only_if_cached(rules, self.head):
            self.exchange.fail(504, "ok")
        elif (
            wanted(rules.no_store, self.head)
            or not zone.is_wanted_often(self._key, rules.min_uses)
            or zone.passes(self._identity, for_one=is_for_one(rules, self.head))
        ):
            pass_through(cached, self.exchange, "MISS")
        else:
            self._fetch(None)

    def _fetch(self, stale: CacheEntry | None, *, joins: bool = True) -> None:
        """Join the fill that is under way, or begin one."""
        cached, zone = self._cached, self._cached.zone
        fill = zone.fills.get(self._identity)
        if isinstance(fill, Fill) and joins and cached.rules.collapse and fill.is_shared:
            self._fill = fill
            fill.join(self)
        elif fill is not None:
            pass_through(cached, self.exchange, self._result)
        else:
            self._own = True
            self._fill = fill = Fill(cached, self.exchange, self._key, stale, self._slice_at)
            fill.join(self)
            fill.start()

    def _serve_and_update(self, entry: CacheEntry) -> None:
        """Serve a stale response at once, and have it updated beside."""
        cached, zone = self._cached, self._cached.zone
        if entry.identity in zone.fills:
            self._serve_stale(entry, "UPDATING")
            return
        fill = Fill(cached, self.exchange, self._key, entry, self._slice_at)
        self._serve_stale(entry, "STALE")
        fill.start()

    # Responses

    def _serve(self, entry: CacheEntry, result: CacheResult, status: bytes) -> None:
        cached, exchange = self._cached, self.exchange
        from_peer = exchange.carrier.from_peer
        if not from_peer:
            cached.zone.results[result] += 1
        exchange.cache = result
        self.done = True
        added = ((PEER_RESULT, result.encode()),) if from_peer else cached.added(result, status)
        slices = Slices(cached, exchange, entry) if entry.part is not None else None
        respond_from(exchange, entry, added, cached.zone.clock(), slices, last=cached.last_fields)

    def _serve_stale(self, entry: CacheEntry, result: CacheResult) -> None:
        self._serve(entry, result, cache_status(ttl=entry.freshness.time_left(self._cached.zone.clock())))

    # Calls of the fill

    def interim(self, head: ResponseHead) -> None:
        self.exchange.interim(head)

    def filled(self, fill: Fill, entry: CacheEntry) -> None:
        self._note_server(fill)
        status = cache_status(forward=FORWARD[self._result], stored=self._own, collapsed=not self._own)
        result: CacheResult = self._result if self._own else "HIT"
        self._serve(entry, result, status)

    def confirmed(self, entry: CacheEntry) -> None:
        result: CacheResult = "REVALIDATED" if self._own else "HIT"
        self._serve(entry, result, cache_status(forward="stale", server_status=304, collapsed=not self._own))

    def stale(self, entry: CacheEntry) -> None:
        self._serve_stale(entry, "STALE")

    def released(self) -> None:
        pass_through(self._cached, self.exchange, self._result)

    def take(self, upstream: UpstreamRequest, server: ServerCarrier) -> UpstreamRequest | None:
        head = self.head
        if not self._own or head.method != b"GET" or head.block.meanings & CONDITION:
            return None
        exchange = self.exchange
        exchange.upstream = request = PassedRequest(exchange, self._cached, self._result)
        request.take_over_from(upstream, server)
        return request

    def fill_failed(self, status: int, reason: RequestReason, fields: HeaderFields) -> None:
        if self._fill is not None:
            self._note_server(self._fill)
        if not self.exchange.carrier.from_peer:
            self._cached.zone.results[self._result] += 1
        self.exchange.cache = self._result
        self.done = True
        self.exchange.fail(status, reason, fields)

    def _note_server(self, fill: Fill) -> None:
        if self._own:
            request = fill.upstream or fill  # it may have ended
            self.server_name_used, self.attempts = request.server_name_used, request.attempts

    # Calls of the exchange

    @property
    def last_activity(self) -> float:
        return self._fill.last_activity if self._fill is not None else 0.0

    @property
    def may_end_unfinished(self) -> bool:
        fill = self._fill
        return fill is not None and fill.content.length is None and self.head.minor == 1

    def let_go(self) -> None:
        """No request of the cache changes to another protocol."""

    def server_removed(self) -> None:
        """The fill is told itself."""

    def server_down(self) -> None:
        """The fill is told itself."""

    def end(self) -> None:
        self.done = True
        if self._fill is not None:
            self._fill.leave(self)
