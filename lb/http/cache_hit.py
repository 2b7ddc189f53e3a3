"""The fast path of a hit: a usual request for a fresh response that is in memory, or in a file that is open.

The response is kept as it goes over the wire, found by the head that asked for it: most hits are a look-up and a write.
"""

from __future__ import annotations

from weakref import ref

from lb.cache.cache_status import cache_status
from lb.cache.content import Content
from lb.cache.entry import CacheEntry
from lb.cache.policy import Reuse, reuse
from lb.http.cached_route import CachedRoute
from lb.http.exchange import Exchange, ExchangeCarrier
from lb.http.file_flow import FilePart
from lb.http.frontend import HttpFrontend, RunningRoute
from lb.http.sent_fields import sent_fields
from lb.http1.field import CONDITION
from lb.http1.request_head import RequestHead
from lb.http1.wire import CLOSE, field_lines, length_line, status_line
from lb.model.address import Client
from lb.model.request import HeaderFields

__all__ = ["Hit", "find_hit", "hit_exchange", "record_hit", "serve_hit"]

_JOINED = 16 * 1024
"""Bytes of a body that is kept together with its head."""


class Hit:
    """A response as it is sent in this second: Age changes. It lives as long as its entry is in the cache."""

    __slots__ = (
        "__weakref__",
        "begin",
        "block",
        "body",
        "fields",
        "generation",
        "head",
        "key",
        "length",
        "since",
        "status",
        "until",
    )

    def __init__(
        self,
        entry: CacheEntry,
        body: bytes | Content,
        fields: HeaderFields,
        since: float,
        until: float,
        generation: int,
    ) -> None:
        self.fields = fields
        self.block = b""
        """The head as HTTP/2 has it, once somebody has asked for it so."""
        self.key = entry.key
        self.status = entry.status
        self.length = entry.length or 0
        self.generation = generation
        head = status_line(entry.status) + field_lines(fields) + _framing(entry.status, entry.length or 0)
        self.head = head
        self.begin = b"%s\r\n%s" % (head, body if isinstance(body, bytes) and len(body) <= _JOINED else b"")
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
    hit = find_hit(head, cached, carrier.scheme)
    if hit is None:
        return False
    if isinstance(hit.body, Content):
        return _serve_file(hit, hit.body, cached, carrier, head, route)
    keep_alive = b"close" not in head.block.options
    try:
        _send(hit, hit.body, carrier, keep_alive=keep_alive)
    except OSError:
        hit_exchange(carrier, head, route, hit).client_left()
        return True
    cached.zone.results["HIT"] += 1
    cached.zone.top.note(hit.key)
    if carrier.unsent:
        hit_exchange(carrier, head, route, hit).response_complete(close=not keep_alive)
        return True
    if frontend.is_recorded:
        record_hit(carrier.client, frontend, head, route, hit)
    carrier.fast_ended(keep_alive=keep_alive)
    return True


def find_hit(head: RequestHead, cached: CachedRoute, scheme: bytes) -> Hit | None:
    """Return the response to a usual request; None if it is no hit that has all of its body in memory, or in a file."""
    zone = cached.zone
    now = zone.clock()
    known: ref[Hit] | None = head.__dict__.get("hit")
    if known is None and head.without_cookie is not None:
        known = head.without_cookie.__dict__.get("hit_with_cookie")
    hit = known() if known is not None else None
    if hit is None or not hit.since <= now < hit.until or hit.generation != zone.generation:
        hit = _find(head, cached, scheme, now)
        if hit is not None:
            _keep(hit, head, cached)
    return hit


def _serve_file(
    hit: Hit,
    content: Content,
    cached: CachedRoute,
    carrier: ExchangeCarrier,
    head: RequestHead,
    route: RunningRoute,
) -> bool:
    """Serve a hit from its file, unless that was removed from the disk."""
    file = content.file
    if file is None or file.is_removed():
        return False
    cached.zone.results["HIT"] += 1
    cached.zone.top.note(hit.key)
    carrier.must_close = b"close" in head.block.options
    held, carrier.held = b"".join(carrier.held), ()
    exchange = hit_exchange(carrier, head, route, hit)
    exchange.bytes_out = 0
    file.acquire()
    body = FilePart(file, file.body_at, hit.length)
    carrier.send_parts(exchange, held + _begin(hit, keep_alive=not carrier.must_close), (body,))
    return True


def _begin(hit: Hit, *, keep_alive: bool) -> bytes:
    return hit.begin if keep_alive else hit.head + CLOSE + hit.begin[len(hit.head) :]


def _send(hit: Hit, body: bytes, carrier: ExchangeCarrier, *, keep_alive: bool) -> None:
    """Send a response, or hold it if it can be sent together with the next one."""
    begin = _begin(hit, keep_alive=keep_alive)
    if carrier.more_comes and keep_alive and hit.length <= _JOINED:
        carrier.held += (begin,)
        return
    if carrier.held:
        begin, carrier.held = b"".join((*carrier.held, begin)), ()
    if hit.length > _JOINED:
        carrier.write_two(begin, body)
    else:
        carrier.write(begin)


def _keep(hit: Hit, head: RequestHead, cached: CachedRoute) -> None:
    """Keep a hit with the head that asked for it, for all cookies if it is the same for them."""
    shared = head.without_cookie
    if shared is None or cached.reads_cookies or b"cookie" in cached.zone.names_of(hit.key):
        head.__dict__["hit"] = ref(hit)
    else:
        shared.__dict__["hit_with_cookie"] = ref(hit)


def _find(head: RequestHead, cached: CachedRoute, scheme: bytes, now: float) -> Hit | None:
    """Look a response up in the cache."""
    if head.block.meanings & CONDITION or head.upgrade or head.method != b"GET" or cached.is_unusual(head):
        return None
    zone = cached.zone
    entry = zone.find(zone.identity(cached.key(scheme, head), head))
    if entry is None or not (isinstance(entry.body, bytes) or entry.body.is_in_whole_file):
        return None
    if entry.prepared is None:
        entry.prepared = {}
    hit = entry.prepared.get(cached.status_header)
    if not isinstance(hit, Hit) or not hit.is_valid(now, zone.generation):
        freshness = entry.freshness
        if reuse(cached.rules, freshness, head, now) is not Reuse.FRESH:
            return None
        hit = entry.prepared[cached.status_header] = _make(entry, entry.body, cached, now)
    return hit


def _make(entry: CacheEntry, body: bytes | Content, cached: CachedRoute, now: float) -> Hit:
    age, ttl = entry.freshness.age(now), entry.freshness.time_left(now)
    fields = sent_fields(entry, cached.added("HIT", cache_status(ttl=ttl)), now)
    return Hit(entry, body, fields, now, now + min(1 - age % 1, ttl), cached.zone.generation)


def _framing(status: int, length: int) -> bytes:
    return b"" if status == 204 else length_line(length)


def hit_exchange(carrier: ExchangeCarrier, head: RequestHead, route: RunningRoute, hit: Hit) -> Exchange:
    """Return an exchange whose response is written, but not taken yet."""
    exchange = carrier.new_exchange(head)
    exchange.route, exchange.cache = route, "HIT"
    exchange.status, exchange.responded_at, exchange.bytes_out = hit.status, exchange.began, hit.length
    carrier.exchange = exchange
    return exchange


def record_hit(client: Client, frontend: HttpFrontend, head: RequestHead, route: RunningRoute, hit: Hit) -> None:
    """Write the record of a request that was answered at once."""
    method, host, path, version = head.described
    frontend.context.sink(
        frontend.record(
            frontend.next_id(),
            frontend.name,
            route.name,
            client,
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
