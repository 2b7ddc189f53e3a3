"""A route with a cache: what its requests, its fills and its hits share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lb.cache.entry import SliceAt
from lb.cache.policy import wanted
from lb.cache.vary import vary_of
from lb.cache.zone import CacheResult, CacheZone
from lb.http.cache_purging import Purging
from lb.http.sent_fields import LastFields
from lb.http.upstream_request import PoolTarget
from lb.http1.field import CONDITION
from lb.http1.ranges import first_byte
from lb.http1.request_head import RequestHead
from lb.model import RouteCache
from lb.model.purge import Purge
from lb.model.request import HeaderFields
from lb.net.deadlines import DeadlineQueue

__all__ = ["PEER_RESULT", "CachedRoute", "Peers"]


PEER_RESULT = b"x-trio-lb-cache"
"""The field that says what the cache of a worker did, in its response to another one. No server can set it."""


class Peers(Protocol):
    """The caches of the other workers."""

    def of(self, key: bytes) -> PoolTarget | None:
        """Return the way to the worker that asks the servers for what has this key; None: it is this one."""

    def close(self) -> None:
        """Answer the other workers no more."""


class CachedRoute:
    """``idle_queue`` and ``max_header`` are those of ``listener``. ``target`` asks the servers."""

    def __init__(
        self,
        rules: RouteCache,
        zone: CacheZone,
        target: PoolTarget,
        *,
        listener: str,
        idle_queue: DeadlineQueue,
        max_header: int,
        peers: Peers | None = None,
        identity: str = "",
    ) -> None:
        self.rules = rules
        self.zone = zone
        self.pool_target = target
        self.context = target.context
        self.loop = target.loop
        self.listener = listener
        self.idle_queue = idle_queue
        self.max_header = max_header
        self.peers = peers
        self.last_fields = LastFields()
        self.identity = identity.encode()
        """What requests that came through this cache bear in CDN-Loop."""
        self._key = zone.template(rules.key)
        self.reads_cookies = any("cookie" in text.lower() for text in (rules.key, *rules.bypass))
        """What is served may depend on cookies, beside what Vary says."""
        self.status_header = rules.status_header.encode()
        self.replaced_names = frozenset((PEER_RESULT, self.status_header.lower())) - {b""}
        """The names of fields of servers that the cache's own take the place of, in lower case."""
        self._own_fields = target.images.own_fields | _not_in(rules.key)

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

    def key_of(self, scheme: bytes, head: RequestHead, uri: bytes) -> bytes:
        """Return the key that a request for another path of the same host would have."""
        other = RequestHead(b"GET", uri, head.host, head.minor, head.block, head.cookie_line, plain=False)
        return self._key(scheme, other)

    @property
    def purges_at_once(self) -> bool:
        """A purge of keys needs nothing but this process and its memory."""
        return self.context.purge_elsewhere is None and self.zone.disk is None

    def purge(self, what: Purge, done: Callable[[int], None]) -> None:
        """Purge the zone in all processes. ``done`` gets the number of responses that there were."""
        Purging(self.context, self.loop, self.zone, what, done).start()

    def vary_of(self, fields: HeaderFields) -> tuple[bytes, ...] | None:
        """Return the fields of requests that a response depends on; None if no other request gets the response.

        Of what servers do not get from clients, but from here, requests do not tell.
        """
        names = vary_of(self.rules, fields)
        return None if names is None or not self._own_fields.isdisjoint(names) else names

    def added(self, result: CacheResult | None, status: bytes) -> HeaderFields:
        """Return the fields that tell what the cache did; ``result`` is None if it was not asked."""
        fields = ((b"Cache-Status", status),)
        if not self.status_header or result is None:
            return fields
        return (*fields, (self.status_header, result.encode()))


def _not_in(key: str) -> frozenset[bytes]:
    """Return the fields by which servers learn what is not in the key."""
    told = {"{scheme}": b"x-forwarded-proto", "{host}": b"x-forwarded-host"}
    return frozenset(field for variable, field in told.items() if variable not in key)
