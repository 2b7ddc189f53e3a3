"""Answers the requests of a route from the cache, and asks the servers of its pool for what is not there."""

from __future__ import annotations

from functools import partial

from lb.cache.policy import may_look_up
from lb.http.cache_read import CacheRead
from lb.http.cached_route import CachedRoute
from lb.http.carrier import ExchangeToServe
from lb.http.cdn_loop import is_in_loop
from lb.http.passed_request import pass_through
from lb.http1.field import CONDITION
from lb.http1.request_head import RequestHead
from lb.model.address import address_of
from lb.model.purge import Purge

__all__ = ["CacheTarget"]

_FOR_THE_SERVER = (b"if-match", b"if-unmodified-since")
"""Conditions that only the server evaluates: RFC 9111, section 4.3.2."""


class CacheTarget:
    """Implements :class:`lb.http.carrier.Responder`."""

    def __init__(self, cached: CachedRoute) -> None:
        self.cached = cached

    def begin(self, exchange: ExchangeToServe) -> None:
        head, cached = exchange.head, self.cached
        if is_in_loop(head, cached.identity):
            exchange.fail(508, "bad_request")
        elif head.method == b"PURGE" and cached.rules.purge:
            self._purge(exchange)
        elif head.is_grpc:
            cached.pool_target.begin(exchange)  # a call: never stored, and it has a deadline and a status
        elif may_look_up(head) and exchange.body is None and not head.upgrade and not _asks_server(head):
            exchange.upstream = read = CacheRead(cached, exchange)
            read.start()
        else:
            pass_through(cached, exchange, None)

    def _purge(self, exchange: ExchangeToServe) -> None:
        cached = self.cached
        if address_of(exchange.client.host) not in cached.rules.purge:
            exchange.fail(403, "denied")
            return
        head = exchange.head
        what = Purge.of_keys([cached.key(exchange.scheme, head)])
        if head.uri.endswith(b"*"):
            what = Purge("prefix", (b"%s://%s%s" % (exchange.scheme, head.host, head.uri[:-1]),))
            if not what.is_valid:
                exchange.fail(400, "bad_request")
                return
        cached.purge(what, partial(_answer_purge, exchange))


def _answer_purge(exchange: ExchangeToServe, count: int) -> None:
    if count:
        exchange.respond(200, ((b"Content-Type", b"text/plain"),), b"%d purged\n" % count)
    else:
        exchange.fail(404, "ok")


def _asks_server(head: RequestHead) -> bool:
    """Return True if the request has a condition that only the server evaluates."""
    return bool(head.block.meanings & CONDITION) and any(name in head.block.conditions for name in _FOR_THE_SERVER)
