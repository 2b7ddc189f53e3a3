"""Counters from zero: what the configuration can count is there before the first event, so that rates see it begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, product

import attrs

from lb.dataplane.forwarded import Forwarded
from lb.dataplane.requests import RouteKey, RouteRequests
from lb.dataplane.stats import Connects, Counters
from lb.model import Config, HttpSettings
from lb.model.forward import ForwardSettings

__all__ = ["with_zeros"]

MOST_IDLE_POOLS, MOST_IDLE_ROUTES = 1_000, 500
"""Pools and routes that are there without an event, of those with histograms: 1 KB of text each, and 4 KB. More appear
with their first event."""
FORWARD_RESULTS = ("ok", "refused", "unreachable", "timeout")


def with_zeros(figures: Counters, config: Config, servers: Iterable[tuple[str, str]]) -> Counters:
    """Return the counters with zeros for what has not happened yet. ``servers`` are those shown, by pool and name."""
    pools = [name for name in config.pools if name not in config.media.pools]
    http = [pool for pool in dict.fromkeys(_http_pools(config)) if pool not in config.media.pools]
    idle = islice((pool for pool in pools if pool not in figures.connects), MOST_IDLE_POOLS)
    routes = islice((key for key in _routes(config) if key not in figures.requests), MOST_IDLE_ROUTES)
    return attrs.evolve(
        figures,
        connects={**figures.connects, **{pool: Connects() for pool in idle}},
        failed_connects={**dict.fromkeys(servers, 0), **figures.failed_connects},
        requests={**figures.requests, **{key: RouteRequests() for key in routes}},
        request_retries={**dict.fromkeys(http, 0), **figures.request_retries},
        forwarded={**figures.forwarded, **dict(_forwarded(figures, config))},
    )


def _http_pools(config: Config) -> Iterator[str]:
    for listener in config.listeners.values():
        if isinstance(listener.settings, HttpSettings):
            yield from listener.settings.pools


def _routes(config: Config) -> Iterator[RouteKey]:
    """Yield the routes of all listeners, with that for requests which none takes."""
    for name, listener in config.listeners.items():
        if isinstance(listener.settings, HttpSettings):
            names = (*(route.name for route in listener.settings.routes), listener.settings.pool, "")
            yield from ((name, route) for route in dict.fromkeys(names))


def _forwarded(figures: Counters, config: Config) -> Iterator[tuple[str, Forwarded]]:
    for name, listener in config.listeners.items():
        if isinstance(listener.settings, ForwardSettings):
            zeros = dict.fromkeys(product(_protocols(listener.settings), FORWARD_RESULTS), 0)
            known = figures.forwarded.get(name, Forwarded())
            yield name, attrs.evolve(known, results={**zeros, **known.results})


def _protocols(settings: ForwardSettings) -> Iterator[str]:
    """Yield the protocols by which results are counted: CONNECT is one of its own."""
    for protocol in settings.protocols:
        yield from ("http", "connect") if protocol == "http" else (protocol,)
