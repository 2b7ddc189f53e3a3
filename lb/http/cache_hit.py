"""The fast path of a hit: a usual request for a fresh response that is in memory.

The response is kept as it goes over the wire, found by the head that asked for it: most hits are a look-up and a write.
"""

from __future__ import annotations

from weakref import ref

from lb.cache.cache_status import cache_status
from lb.cache.entry import CacheEntry
from lb.cache.policy import Reuse, reuse
from lb.http.cached_response import sent_fields
from lb.http.cached_route import CachedRoute
from lb.http.exchange import Exchange, ExchangeCarrier
from lb.http.frontend import HttpFrontend, RunningRoute
from lb.http1.field import CONDITION
from lb.http1.request_head import RequestHead
from lb.http1.wire import CLOSE, field_lines, length_line, status_line

__all__ = ["serve_hit"]

_JOINED = 16 * 1024
"""Bytes of a body that is kept together with its head."""


class _Hit:
    """A response as it is sent in this second: Age changes. It lives as long as its entry is in the cache."""

    __slots__ = ("__weakref__", "begin", "body", "generation", "head", "key", "length", "since", "status", "until")

    def __init__(
        self, entry: CacheEntry, body: bytes, head: bytes, since: float, until: float, generation: int
    ) -> None:
        self.key = entry.key
        self.status = entry.status
        self.length = len(body)
        self.generation = generation
        self.head = head
        joined = len(body) <= _JOINED
        self.begin = b"%s\r\n%s" % (head, body if joined else b"")
        """The head, and a short body."""
        self.body = body
        self.since = since
        """A clock that was set back says nothing of ages."""
        self.until = until

    def is_valid(self, now: float, generation: int) -> bool:
        return self.since <= now < self.until and self.generation == generation


def serve_hit(
    cached: CachedRoute, carrier: ExchangeCarrier, frontend: HttpFrontend, head: RequestHead, route: RunningRoute
) -> bool:
    """Serve a request if it is a hit. The caller has looked: route, head and carrier are usual."""
    zone = cached.zone
    now = zone.clock()
    known: ref[_Hit] | None = head.__dict__.get("hit")
    hit = known() if known is not None else None
    if hit is None or not hit.since <= now < hit.until or hit.generation != zone.generation:
        hit = _find(head, cached, carrier.scheme, now)
        if hit is None:
            return False
        head.__dict__["hit"] = ref(hit)
    keep_alive = b"close" not in head.block.options
    exchange_id = frontend.next_id()
    try:
        if not keep_alive:
            carrier.write_two(b"%s%s\r\n" % (hit.head, CLOSE), hit.body)
        elif hit.length > _JOINED:
            carrier.write_two(hit.begin, hit.body)
        else:
            carrier.write(hit.begin)
    except OSError:
        _exchange(carrier, frontend, head, route, exchange_id, hit).client_left()
        return True
    zone.results["HIT"] += 1
    zone.top.note(hit.key)
    if carrier.unsent:
        _exchange(carrier, frontend, head, route, exchange_id, hit).response_complete(close=not keep_alive)
        return True
    if frontend.is_recorded:
        _record(carrier, frontend, head, route, exchange_id, hit)
    carrier.fast_ended(keep_alive=keep_alive)
    return True


def _find(head: RequestHead, cached: CachedRoute, scheme: bytes, now: float) -> _Hit | None:
    """Return the response to a request; None if it is no hit that has all of its body in memory."""
    if head.block.meanings & CONDITION or head.upgrade or head.method != b"GET" or cached.is_unusual(head):
        return None
    zone = cached.zone
    entry = zone.find(zone.identity(cached.key(scheme, head), head))
    if entry is None or not isinstance(entry.body, bytes):
        return None
    if entry.prepared is None:
        entry.prepared = {}
    hit = entry.prepared.get(cached.status_header)
    if not isinstance(hit, _Hit) or not hit.is_valid(now, zone.generation):
        freshness = entry.freshness
        if reuse(cached.rules, freshness, head, now) is not Reuse.FRESH:
            return None
        hit = entry.prepared[cached.status_header] = _make(entry, entry.body, cached, now)
    return hit


def _make(entry: CacheEntry, body: bytes, cached: CachedRoute, now: float) -> _Hit:
    age, ttl = entry.freshness.age(now), entry.freshness.time_left(now)
    fields = sent_fields(entry, cached.added("HIT", cache_status(ttl=ttl)), now)
    wire = status_line(entry.status) + field_lines(fields) + _framing(entry.status, len(body))
    return _Hit(entry, body, wire, now, now + min(1 - age % 1, ttl), cached.zone.generation)


def _framing(status: int, length: int) -> bytes:
    return b"" if status == 204 else length_line(length)


def _exchange(
    carrier: ExchangeCarrier,
    frontend: HttpFrontend,
    head: RequestHead,
    route: RunningRoute,
    exchange_id: str,
    hit: _Hit,
) -> Exchange:
    """Return an exchange whose response is written, but not taken yet."""
    exchange = Exchange(carrier, frontend, head)
    exchange.id, exchange.route, exchange.cache = exchange_id, route, "HIT"
    exchange.status, exchange.responded_at, exchange.bytes_out = hit.status, exchange.began, hit.length
    carrier.exchange = exchange
    return exchange


def _record(
    carrier: ExchangeCarrier,
    frontend: HttpFrontend,
    head: RequestHead,
    route: RunningRoute,
    exchange_id: str,
    hit: _Hit,
) -> None:
    method, host, path, version = head.described
    frontend.context.sink(
        frontend.record(
            exchange_id,
            frontend.name,
            route.name,
            carrier.client,
            method,
            host,
            path,
            version,
            hit.status,
            0,
            hit.length,
            0.0,
            0.0,
            route.pool,
            None,
            (),
            "HIT",
            "ok",
        )
    )
