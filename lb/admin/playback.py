"""Where the page can play streams, by the configuration: their URLs, and the policy that lets it."""

from __future__ import annotations

import re
import time
from urllib.parse import urlsplit

from lb.control.balancer import Balancer
from lb.explain.stream_routes import stream_routes

__all__ = ["page_policy", "stream_urls"]

_LINK_LIFE = 12 * 3600
"""Seconds that the page can play a stream of a route with ``viewer_secret_file``, from when it is asked to."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{origins}; img-src data:;{media} "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page connects only to its own origin and to those of streams, runs only its own script, and cannot be framed by
other pages."""
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")


def stream_urls(balancer: Balancer, host: str) -> dict[str, str]:
    """Return where the streams of each application are, as ``http://10.0.0.1:8080/live/``, if a route serves them.

    ``host`` is the Host of the request for the page: a listener on all addresses is expected at the same one.
    """
    match = _HOST.fullmatch(host)
    urls = {
        app.name: _url(balancer, app.name, match[1] if match is not None else "localhost")
        for app in balancer.config.media.live
    }
    return {app: url for app, url in urls.items() if url}


def _url(balancer: Balancer, app: str, host: str) -> str:
    for found in stream_routes(balancer.config.listeners.values(), app):
        for bound in balancer.bound_of(found.listener.name):
            if not bound.startswith("unix:"):
                return found.origin(bound, host) + found.link(int(time.time()) + _LINK_LIFE)
    return ""


def page_policy(balancer: Balancer, host: str) -> str:
    """Return the Content-Security-Policy of the page."""
    urls = [urlsplit(url) for url in stream_urls(balancer, host).values()]
    origins = sorted({f"{url.scheme}://{url.netloc}" for url in urls})
    return _POLICY.format(origins="".join(f" {each}" for each in origins), media=" media-src blob:;" if origins else "")
