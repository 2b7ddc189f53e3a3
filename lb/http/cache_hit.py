"""The fast path of a hit: a usual request for a fresh response that is in memory.

The response is kept as it goes over the wire, with the head that asked for it: most hits are a look-up and a write.
"""

from __future__ import annotations

from lb.cache.cache_status import cache_status
from lb.cache.entry import CacheEntry
from lb.cache.policy import Reuse, reuse
from lb.http.cached_response import VIA_FIELD, sent_fields
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
    """A response as it is sent in this second: Age changes."""

    __slots__ = ("body", "closing", "entry", "generation", "image", "until")

    def __init__(self, entry: CacheEntry, body: bytes, head: bytes, until: float, generation: int) -> None:
        self.entry = entry
        self.generation = generation
        joined = len(body) <= _JOINED
        self.body = b"" if joined else body
        """What is sent behind the image."""
        rest = body if joined else b""
        self.image = b"%s\r\n%s" % (head, rest)
        self.closing = b"%s%s\r\n%s" % (head, CLOSE, rest)
        """The same for a client whose connection ends."""
        self.until = until


def serve_hit(
    cached: CachedRoute, carrier: ExchangeCarrier, frontend: HttpFrontend, head: RequestHead, route: RunningRoute
) -> bool:
    """Serve a request if it is a hit. The caller has looked: route, head and carrier are usual."""
    zone = cached.zone
    now = zone.clock()
    hit: _Hit | None = head.__dict__.get("hit")
    if hit is None or now >= hit.until or hit.entry.removed or hit.generation != zone.generation:
        hit = _make(head, cached, carrier.scheme, now)
        if hit is None:
            return False
        head.__dict__["hit"] = hit
    keep_alive = b"close" not in head.block.options
    image = hit.image if keep_alive else hit.closing
    exchange_id = frontend.next_id()
    try:
        if hit.body:
            carrier.write_two(image, hit.body)
        else:
            carrier.write(image)
    except OSError:
        _exchange(carrier, frontend, head, route, exchange_id, hit).client_left()
        return True
    zone.results["HIT"] += 1
    zone.top.note(hit.entry.key)
    if carrier.unsent:
        _exchange(carrier, frontend, head, route, exchange_id, hit).response_complete(close=not keep_alive)
        return True
    if frontend.is_recorded:
        _record(carrier, frontend, head, route, exchange_id, hit)
    carrier.fast_ended(keep_alive=keep_alive)
    return True


def _make(head: RequestHead, cached: CachedRoute, scheme: bytes, now: float) -> _Hit | None:
    """Return the response to a request; None if it is no hit that has all of its body in memory."""
    if head.block.meanings & CONDITION or head.upgrade or head.method != b"GET" or cached.is_unusual(head):
        return None
    zone = cached.zone
    entry = zone.find(zone.identity(cached.key(scheme, head), head))
    if entry is None or not isinstance(entry.body, bytes):
        return None
    freshness = entry.freshness
    if reuse(cached.rules, freshness, head, now) is not Reuse.FRESH:
        return None
    age, ttl = freshness.age(now), freshness.time_left(now)
    fields = [
        *sent_fields(entry),
        (b"Age", b"%d" % max(0, int(age))),
        VIA_FIELD,
        *cached.added("HIT", cache_status(ttl=ttl)),
    ]
    wire = status_line(entry.status) + field_lines(fields) + _framing(entry.status, len(entry.body))
    return _Hit(entry, entry.body, wire, now + min(1 - age % 1, ttl), zone.generation)


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
    exchange.status, exchange.responded_at, exchange.bytes_out = hit.entry.status, exchange.began, _length(hit)
    carrier.exchange = exchange
    return exchange


def _length(hit: _Hit) -> int:
    body = hit.entry.body
    return len(body) if isinstance(body, bytes) else 0


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
            hit.entry.status,
            0,
            _length(hit),
            0.0,
            0.0,
            route.pool,
            None,
            (),
            "HIT",
            "ok",
        )
    )
