"""The fast path of a hit, on a listener that has routes with links for viewers."""

from __future__ import annotations

from lb.http.cache_hit import serve_hit
from lb.http.cached_route import CachedRoute
from lb.http.exchange import ExchangeCarrier
from lb.http.frontend import HttpFrontend, RunningRoute
from lb.http1.request_head import RequestHead

__all__ = ["serve_viewer_hit"]


def serve_viewer_hit(
    cached: CachedRoute, carrier: ExchangeCarrier, frontend: HttpFrontend, head: RequestHead, route: RunningRoute
) -> bool:
    """Serve a request if it is a hit, and is let in. The steps of the route answer the others."""
    if route.links is not None and not route.links.lets_in(head):
        return False
    return serve_hit(cached, carrier, frontend, head, route)
