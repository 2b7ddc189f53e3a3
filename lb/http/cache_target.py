"""Answers the requests of a route from the cache, and asks the servers of its pool for what is not there."""

from __future__ import annotations

from collections.abc import Mapping

from lb.cache.cache_key import KeyTemplate
from lb.cache.cache_status import Forward, cache_status
from lb.cache.entry import Entry, SliceAt
from lb.cache.invalidation import also_invalidated, invalidates
from lb.cache.look_up import look_up
from lb.cache.policy import Reuse, may_look_up, only_if_cached, reuse, serves_stale, wanted
from lb.cache.zone import CacheResult, CacheZone
from lb.events import Attempt, RequestReason
from lb.http.cache_fill import Fill
from lb.http.cached_response import respond_from
from lb.http.carrier import ExchangeToServe
from lb.http.header_edits import FieldChange
from lb.http.response_changes import Variant
from lb.http.server_connection import ServerConnection
from lb.http.slices import Slices
from lb.http.upstream_request import PoolTarget, UpstreamRequest
from lb.http1.field import CONDITION
from lb.http1.ranges import first_byte
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.model import RouteCache
from lb.model.address import address_of
from lb.model.request import HeaderFields
from lb.net.deadlines import DeadlineQueue
from lb.pools.backend import Backend

__all__ = ["CacheTarget"]

_FOR_THE_SERVER = (b"if-match", b"if-unmodified-since")
"""Conditions that only the server evaluates: RFC 9111, section 4.3.2."""
_FORWARD: Mapping[CacheResult, Forward] = {"MISS": "miss", "EXPIRED": "stale", "BYPASS": "bypass"}
"""Why the server was asked."""


class CacheTarget:
    """Implements :class:`lb.http.carrier.Responder`. ``idle_queue`` and ``max_header`` are those of ``listener``."""

    def __init__(
        self,
        rules: RouteCache,
        zone: CacheZone,
        target: PoolTarget,
        *,
        listener: str,
        idle_queue: DeadlineQueue,
        max_header: int,
    ) -> None:
        self.rules = rules
        self.zone = zone
        self.pool_target = target
        self.context = target.context
        self.loop = target.loop
        self.listener = listener
        self.idle_queue = idle_queue
        self.max_header = max_header
        self._key = KeyTemplate(rules.key)
        self._status_header = rules.status_header.encode()

    def begin(self, exchange: ExchangeToServe) -> None:
        head = exchange.head
        if head.method == b"PURGE" and self.rules.purge:
            self._purge(exchange)
        elif may_look_up(head) and exchange.body is None and not head.upgrade and not _asks_server(head):
            exchange.upstream = read = CacheRead(self, exchange)
            read.start()
        else:
            self.pass_through(exchange, None)

    def is_unusual(self, head: RequestHead) -> bool:
        """Return True if what the request says may keep it from a stored response."""
        rules = self.rules
        return rules.obey_client or (bool(rules.bypass) and wanted(rules.bypass, head))

    def slice_of(self, head: RequestHead) -> SliceAt | None:
        """Return the slice in which the range begins that a request asks for; None: no slices."""
        size = self.rules.slice
        if not size or not head.block.meanings & CONDITION or head.method != b"GET":
            return None
        ranges = head.block.conditions.get(b"range", ())
        first = first_byte(ranges[0]) if len(ranges) == 1 else None
        return None if first is None else SliceAt(first - first % size, size)

    def key(self, scheme: bytes, head: RequestHead) -> bytes:
        """Return the key of a request. ``scheme``: what the client used."""
        return self._key(scheme, head)

    def key_of(self, exchange: ExchangeToServe, uri: bytes) -> bytes:
        """Return the key that a request for another path of the same host would have."""
        head = exchange.head
        other = RequestHead(b"GET", uri, head.host, head.minor, head.block, head.cookie_line)
        return self._key(exchange.scheme, other)

    def added(self, result: CacheResult, status: bytes) -> HeaderFields:
        """Return the fields that tell what the cache did."""
        fields = ((b"Cache-Status", status),)
        return (*fields, (self._status_header, result.encode())) if self._status_header else fields

    def pass_through(self, exchange: ExchangeToServe, result: CacheResult | None) -> None:
        """Let a server of the pool answer the client itself."""
        exchange.upstream = request = PassedRequest(exchange, self, result)
        request.start()

    def _purge(self, exchange: ExchangeToServe) -> None:
        if address_of(exchange.client.host) not in self.rules.purge:
            exchange.fail(403, "denied")
            return
        key = self.key(exchange.scheme, exchange.head)
        if key.endswith(b"*"):
            exchange.spawn(self._purge_prefix, exchange, key[:-1])
        else:
            _answer_purge(exchange, self.zone.purge_key(key))

    async def _purge_prefix(self, exchange: ExchangeToServe, prefix: bytes) -> None:
        _answer_purge(exchange, await self.zone.purge(lambda key, _tags: key.startswith(prefix)))


def _answer_purge(exchange: ExchangeToServe, count: int) -> None:
    if count:
        exchange.respond(200, ((b"Content-Type", b"text/plain"),), b"%d purged\n" % count)
    else:
        exchange.fail(404, "ok")


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

    def __init__(self, target: CacheTarget, exchange: ExchangeToServe) -> None:
        self.target = target
        self.exchange = exchange
        self.head = exchange.head
        self._key = target.key(exchange.scheme, exchange.head)
        self._slice_at = target.slice_of(exchange.head)
        """The slice that the response begins in, for a range."""

    def start(self) -> None:
        """Look for a stored response, and serve it or ask the server."""
        target = self.target
        if wanted(target.rules.bypass, self.head):
            self._result = "BYPASS"
            self._fetch(None, joins=False)
            return
        if self._slice_at is not None and self._comes_soon(self._slice_at.offset):
            self._slice_at = None
        look_up(target.zone, self._key, self.head, self._slice_at, self.found)

    def _comes_soon(self, offset: int) -> bool:
        """Return True if a fill of the whole body has come so far."""
        zone = self.target.zone
        fill = zone.fills.get(zone.identity(self._key, self.head))
        return isinstance(fill, Fill) and not fill.content.passes and fill.content.size >= offset

    @property
    def _identity(self) -> bytes:
        """What names the response, or the slice that it begins in."""
        return self.target.zone.identities(self._key, self.head, self._slice_at)[-1]

    def found(self, entry: Entry | None) -> None:
        """The look-up has ended."""
        if self.exchange.ended:
            return
        if entry is not None and entry.part is None:
            self._slice_at = None
        target, zone = self.target, self.target.zone
        if entry is None:
            self._missed()
            return
        now = zone.clock()
        found = reuse(target.rules, entry.freshness, self.head, now)
        if found is Reuse.FRESH:
            self._serve(entry, "HIT", cache_status(ttl=entry.freshness.time_left(now)))
        elif found is Reuse.STALE_WHILE_UPDATE:
            self._serve_and_update(entry)
        elif entry.identity in zone.fills and serves_stale(target.rules, entry.freshness, "updating", now):
            self._serve_stale(entry, "UPDATING")
        elif only_if_cached(target.rules, self.head):
            self.exchange.fail(504, "ok")
        else:
            self._result = "EXPIRED"
            self._fetch(entry)

    def _missed(self) -> None:
        target, zone, rules = self.target, self.target.zone, self.target.rules
        if only_if_cached(rules, self.head):
            self.exchange.fail(504, "ok")
        elif (
            wanted(rules.no_store, self.head)
            or not zone.is_wanted_often(self._key, rules.min_uses)
            or zone.passes(self._identity)
        ):
            target.pass_through(self.exchange, "MISS")
        else:
            self._fetch(None)

    def _fetch(self, stale: Entry | None, *, joins: bool = True) -> None:
        """Join the fill that is under way, or begin one."""
        target, zone = self.target, self.target.zone
        fill = zone.fills.get(self._identity)
        if isinstance(fill, Fill) and joins and target.rules.collapse and not fill.content.passes:
            self._fill = fill
            fill.join(self)
        elif fill is not None:
            target.pass_through(self.exchange, self._result)
        else:
            self._own = True
            self._fill = fill = Fill(target, self.exchange, self._key, stale, self._slice_at)
            zone.fills[fill.identity] = fill
            fill.join(self)
            fill.start()

    def _serve_and_update(self, entry: Entry) -> None:
        """Serve a stale response at once, and have it updated beside."""
        target, zone = self.target, self.target.zone
        if entry.identity in zone.fills:
            self._serve_stale(entry, "UPDATING")
            return
        fill = Fill(target, self.exchange, self._key, entry, self._slice_at)
        zone.fills[fill.identity] = fill
        self._serve_stale(entry, "STALE")
        fill.start()

    # Responses

    def _serve(self, entry: Entry, result: CacheResult, status: bytes) -> None:
        target, exchange = self.target, self.exchange
        target.zone.results[result] += 1
        exchange.cache = result
        self.done = True
        slices = Slices(target, exchange, entry) if entry.part is not None else None
        respond_from(exchange, entry, target.added(result, status), target.zone.clock(), slices)

    def _serve_stale(self, entry: Entry, result: CacheResult) -> None:
        self._serve(entry, result, cache_status(ttl=entry.freshness.time_left(self.target.zone.clock())))

    # Calls of the fill

    def filled(self, fill: Fill, entry: Entry) -> None:
        self._note_server(fill)
        status = cache_status(forward=_FORWARD[self._result], stored=self._own, collapsed=not self._own)
        result: CacheResult = self._result if self._own else "HIT"
        self._serve(entry, result, status)

    def confirmed(self, entry: Entry) -> None:
        result: CacheResult = "REVALIDATED" if self._own else "HIT"
        self._serve(entry, result, cache_status(forward="stale", server_status=304, collapsed=not self._own))

    def stale(self, entry: Entry) -> None:
        self._serve_stale(entry, "STALE")

    def released(self) -> None:
        self.target.pass_through(self.exchange, self._result)

    def take(self, upstream: UpstreamRequest, server: ServerConnection) -> UpstreamRequest | None:
        head = self.head
        if not self._own or head.method != b"GET" or head.block.meanings & CONDITION:
            return None
        exchange = self.exchange
        exchange.upstream = request = PassedRequest(exchange, self.target, self._result)
        request.take_over_from(upstream, server)
        return request

    def fill_failed(self, status: int, reason: RequestReason, fields: HeaderFields) -> None:
        if self._fill is not None:
            self._note_server(self._fill)
        self.target.zone.results[self._result] += 1
        self.exchange.cache = self._result
        self.done = True
        self.exchange.fail(status, reason, fields)

    def _note_server(self, fill: Fill) -> None:
        if self._own and fill.upstream is not None:
            self.server_name_used, self.attempts = fill.upstream.server_name_used, fill.upstream.attempts

    # Calls of the exchange

    @property
    def last_activity(self) -> float:
        upstream = self._fill.upstream if self._fill is not None else None
        return upstream.last_activity if upstream is not None else 0.0

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


class PassedRequest(UpstreamRequest):
    """A request whose response is not stored. ``result`` is None for one that has nothing to do with the cache."""

    def __init__(self, exchange: ExchangeToServe, target: CacheTarget, result: CacheResult | None) -> None:
        super().__init__(exchange, target.pool_target)
        self._cache = target
        self._result = result
        if result is not None:
            target.zone.results[result] += 1
            exchange.cache = result

    @property
    def changes_responses(self) -> bool:
        return True

    def variant(self, head: ResponseHead, backend: Backend) -> Variant | None:
        """Add what the cache did."""
        found = super().variant(head, backend) if super().changes_responses else None
        result = self._result
        status = cache_status(forward="method" if result is None else _FORWARD[result])
        change = FieldChange(fields=tuple(self._cache.added(result or "BYPASS", status)))
        return Variant(b"", change) if found is None else Variant(found.coding, found.change.then(change))

    def deliver(self, server: ServerConnection, head: ResponseHead, rest: memoryview) -> None:
        if invalidates(self.exchange.head.method, head.status):
            self._invalidate(head)
        super().deliver(server, head, rest)

    def _invalidate(self, head: ResponseHead) -> None:
        """A request that changes something has succeeded: what is stored may be wrong now."""
        cache, exchange = self._cache, self.exchange
        keys = {cache.key(exchange.scheme, exchange.head)}
        for uri in also_invalidated(
            exchange.scheme, exchange.head, [(field.name, field.value) for field in head.block.fields]
        ):
            keys.add(cache.key_of(exchange, uri))
        for key in keys:
            cache.zone.purge_key(key)


def _asks_server(head: RequestHead) -> bool:
    """Return True if the request has a condition that only the server evaluates."""
    return bool(head.block.meanings & CONDITION) and any(name in head.block.conditions for name in _FOR_THE_SERVER)
