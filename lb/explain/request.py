"""What happens to a request on its way, as a JSON object."""

from __future__ import annotations

from lb.config.describe import value_text
from lb.config.route_text import route_values
from lb.model import RouteSpec
from lb.model.explained_request import RoutedRequest

__all__ = ["request_fields"]

_ORDER = (
    "viewer_secret_file",
    "rate",
    "burst",
    "auth",
    "forward_auth",
    "auth_headers",
    "strip_prefix",
    "add_prefix",
    "host_header",
    "cache",
    "request_headers",
    "compress",
    "limit_rate",
    "limit_rate_after",
    "response_headers",
)
"""The keys of a route in the order in which a request and its response meet them."""
_OF_THE_RULE = ("host", "path", "methods", "pool", "media", "files", "redirect", "respond", "status")
"""The keys that say which requests the route takes, and what answers them."""


def request_fields(request: RoutedRequest) -> dict[str, object]:
    """Return what a listener does with a request, before a server is chosen."""
    route, asked = request.route, request.asked
    return {
        "method": asked.method,
        "url": asked.url,
        "route": None if route is None else route.name,
        "why": request.why,
        "on_the_way": {} if route is None else _on_the_way(route),
        "client": request.client.host or "unix:",
        "cache_key": request.cache_key.decode(errors="backslashreplace").replace("\n", " ") or None,
        "sticky_server": request.sticky_server or None,
        "server_gets": {"target": request.target, "host": request.host} if request.target else None,
        "answer": request.answer or None,
        "error": request.error or None,
    }


def _on_the_way(route: RouteSpec) -> dict[str, str]:
    """Return the keys of a route that change something, with their values, in order."""
    values = {key: value for key, value in route_values(route).items() if key not in _OF_THE_RULE}
    return {key: value_text(values[key]) for key in sorted(values, key=_place)}


def _place(key: str) -> int:
    name = key.partition(".")[0]
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
