"""The measurements of mode ``http``, beside nginx and HAProxy as reverse proxies that keep connections to servers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import costs
import waits
from clients import PLAIN, TLS, Client
from costs import IDLE_FOR_MEMORY, IDLE_FOR_SPEED
from model import Bar, Case, Metric, Sample, Scale
from target import Features, Target
from targets import HAPROXY, HAPROXY_SPLICE, LB, NGINX_HTTP, Running
from waits import SLOW_HEADS

__all__ = ["HTTP_CASES"]


def _with(targets: tuple[Target, ...], features: Features, client: Client = PLAIN) -> tuple[Target, ...]:
    return tuple(target.with_features(features, client) for target in targets)


PROXIES = _with((LB, NGINX_HTTP, HAPROXY), Features(http=True))
SPLICING = _with((LB, NGINX_HTTP, HAPROXY, HAPROXY_SPLICE), Features(http=True))
SECURE = _with((LB, NGINX_HTTP, HAPROXY), Features(http=True, tls=True), TLS)
CACHES = _with((LB, NGINX_HTTP), Features(http=True, cache=True))
SECURE_CACHES = _with((LB, NGINX_HTTP), Features(http=True, cache=True, tls=True), TLS)


def _bar(limit: float) -> Bar:
    return Bar(limit, against=NGINX_HTTP)


def _case(
    name: str,
    cost: Metric,
    rate: str,
    targets: tuple[Target, ...],
    run: Callable[[Running, Scale], Sample],
    unit: str = "1/s",
    quick: bool = False,
) -> Case:
    return Case(name, (cost, Metric(rate, unit, cost=False)), targets, run, quick=quick)


def _requests(name: str, what: str, limit: float, targets: tuple[Target, ...] = PROXIES, **load: str | bool) -> Case:
    """A case of requests with wrk; ``load`` is that of costs.requests."""
    return _case(
        name,
        Metric(f"CPU of a proxied request, {what}", "µs", bar=_bar(limit)),
        f"proxied requests, {what}",
        targets,
        partial(costs.requests, **{"path": "/small", **load}),
        quick=name == "http-keepalive",
    )


def _hits(name: str, what: str, limit: float, targets: tuple[Target, ...] = CACHES, **load: str | bool) -> Case:
    """A case of hits in a cache, with wrk."""
    return _case(
        name,
        Metric(f"CPU of a hit in the cache, {what}", "µs", bar=_bar(limit)),
        f"hits in the cache, {what}",
        targets,
        partial(costs.requests, **{"path": "/kilobyte", **load}),
    )


HTTP_CASES = (
    _requests("http-keepalive", "32 kept connections", 1.35),
    _requests("http-browsers", "heads of four browsers", 1.40, vary="browsers"),
    _requests("http-urls", "a new URL each", 1.60, vary="urls"),
    _requests("http-connections", "a connection each", 1.60, close=True),
    _requests("http-medium", "64 KiB", 0.75, SPLICING, path="/medium"),
    _requests("http-chunked", "64 KiB in chunks", 1.10, path="/chunked"),
    _case(
        "http-download",
        Metric("CPU of a proxied 200 MB response", "ms", bar=_bar(0.3)),
        "proxied 200 MB responses",
        SPLICING,
        partial(costs.downloads, path="/large"),
        "MB/s",
    ),
    _case(
        "http-upload",
        Metric("CPU of a proxied request of 1 GiB", "ms", bar=_bar(0.3)),
        "proxied requests of 1 GiB",
        SPLICING,
        costs.http_upload,
        "MB/s",
    ),
    _requests("http-tls-keepalive", "32 kept connections, TLS", 1.35, SECURE),
    _requests("http-tls-medium", "64 KiB, TLS", 1.0, SECURE, path="/medium"),
    Case(
        "http-tls-connections",
        (
            Metric("CPU of a proxied request, a TLS handshake each", "µs", bar=_bar(1.3)),
            Metric("proxied requests, a TLS handshake each", "1/s", cost=False),
            Metric("full handshakes of proxied requests", "%", cost=False),
        ),
        SECURE,
        costs.connections,
        quick=False,
    ),
    _hits("cache-hit", "1 KiB", 0.70),
    _hits("cache-browsers", "1 KiB, heads of four browsers", 0.70, vary="browsers"),
    _hits("cache-cookies", "1 KiB, a new cookie each", 1.15, vary="cookies"),
    _hits("cache-pipelined", "1 KiB, sixteen at a time", 0.35, vary="pipelined"),
    _hits("cache-connections", "1 KiB, a connection each", 1.40, close=True),
    _hits("cache-medium", "64 KiB", 1.05, path="/medium"),
    _hits("cache-film", "4 MiB", 1.25, path="/film"),
    _hits("cache-tls", "1 KiB, TLS", 1.15, SECURE_CACHES),
    _case(
        "cache-miss",
        Metric("CPU of a miss that is stored, 1 KiB", "µs", bar=_bar(0.90)),
        "misses that are stored, 1 KiB",
        CACHES,
        partial(costs.requests, path="/kilobyte", vary="urls"),
    ),
    Case(
        "http-idle",
        (
            Metric(
                f"memory of an idle proxied connection, {IDLE_FOR_MEMORY:,} held", "KiB", bar=Bar(1.0, against=None)
            ),
            Metric(
                f"CPU of a proxied request beside {IDLE_FOR_SPEED:,} idle connections ÷ beside none",
                "times",
                bar=Bar(1.10, against=None),
            ),
        ),
        PROXIES,
        costs.idle,
        fresh=True,
        quick=False,
    ),
    Case(
        "http-slow-heads",
        (
            Metric(f"memory of a slow head, {SLOW_HEADS:,} of them", "KiB", bar=Bar(2.0, against=None)),
            Metric(f"median of a wait beside {SLOW_HEADS:,} slow heads ÷ alone", "times", bar=Bar(1.2, against=None)),
            Metric(f"99th percentile of a wait beside {SLOW_HEADS:,} slow heads ÷ alone", "times"),
            *(
                Metric(f"{part} of a wait {where}", "µs", cost=False)
                for where in ("without slow heads", "beside slow heads")
                for part in ("median", "99th percentile")
            ),
        ),
        PROXIES,
        waits.slow_heads,
        fresh=True,
        quick=False,
    ),
)
