"""Fields of requests and responses: proxy_set_header, add_header, proxy_hide_header, expires."""

from __future__ import annotations

from lb.http.field_settings import REQUEST_VARIABLES, check_variables, request_field, response_field
from lb.http.templates import VARIABLES
from lb.tools.migrate.draft import DraftTable
from lb.tools.migrate.migration import Directive
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.units import time_in_seconds
from lb.tools.migrate.nginx.variables import IN_REQUESTS, IN_RESPONSES, simplified
from lb.tools.migrate.route_edits import HeaderKind, HeaderSide, edit_header, remove_header

__all__ = ["fill_request_headers", "fill_response_headers"]

_OF_THE_CONNECTION = {
    "connection",
    "upgrade",
    "te",
    "transfer-encoding",
    "content-length",
    "keep-alive",
    "expect",
    "range",
}
_DONE = {
    "x-forwarded-for": ("$proxy_add_x_forwarded_for", "$remote_addr"),
    "x-forwarded-proto": ("$scheme",),
    "x-forwarded-host": ("$host", "$http_host", "$host:$server_port"),
    "x-request-id": ("$request_id",),
}
"""Fields that servers get with these values anyway."""
_CLIENTS_HOST = ("$host", "$http_host", "$host:$server_port", "$host:$proxy_port")
_FIXED = {"max": 315_360_000, "epoch": -1}
"""Seconds of the words of ``expires``."""


def fill_request_headers(route: DraftTable, scope: Scope, *, prefix: str, host: str, copied: dict[str, str]) -> None:
    """Fill what servers get. ``host`` is what nginx sends as Host where nothing else is said.

    ``copied`` has the variables that auth_request_set has set, with their fields.
    """
    host_header = host
    for each in scope.all(f"{prefix}_set_header"):
        name, value = each.args[0], simplified(each.args[1] if len(each.args) > 1 else "")
        if name.lower() == "host":
            host_header = _host(each, value, scope, host)
        elif value == f"$http_{name.lower().replace('-', '_')}" and not _ours(name):
            scope.migration.not_needed(each, "fields of clients are passed on")
        elif name.lower() in _OF_THE_CONNECTION:
            scope.migration.not_needed(each, "fields of the connection are made for each; upgrades pass")
        elif value in (*_DONE.get(name.lower(), ()), *([scope.scheme] if name.lower() == "x-forwarded-proto" else [])):
            scope.migration.not_needed(each, "servers get it anyway")
        elif value.lstrip("$") in copied and copied[value.lstrip("$")].lower() == name.lower():
            route.extend("auth_headers", name)
            scope.migration.translated(each, "listeners.NAME.routes.auth_headers")
        else:
            _set(route, "request_headers", "set", each, name, scope.text(value, IN_REQUESTS), scope)
    if host_header != "client":
        route["host_header"] = host_header


def _ours(name: str) -> bool:
    """Whether a field of a client is not passed on as it came."""
    return name.lower().startswith("x-forwarded-") or name.lower() in ("x-real-ip", "x-request-id", "forwarded")


def _host(directive: Directive, value: str, scope: Scope, default: str) -> str:
    key = "listeners.NAME.routes.host_header"
    scope.migration.translated(directive, key)
    if value in _CLIENTS_HOST:
        return "client"
    if value in ("$proxy_host", "$proxy_host:$proxy_port"):
        return default
    found = scope.text(value, {})
    if found is None:
        scope.migration.gap(directive, '`host_header` is "client", "server" or a host')
        return "client"
    return found or default


def fill_response_headers(route: DraftTable, scope: Scope, *, is_cached: bool, from_server: bool) -> str:
    """Fill what clients get. Return the name of the field that says what the cache did; empty if there is none."""
    status_header = ""
    hidden = {each.args[0].lower() for each in scope.all("proxy_hide_header")} if from_server else set()
    added: dict[str, list[str]] = {}
    for each in scope.all("add_header"):
        name, value = each.args[0], simplified(each.args[1] if len(each.args) > 1 else "")
        if value == "$upstream_cache_status":
            status_header = name if is_cached else ""
            scope.migration.translated(each, "listeners.NAME.routes.cache.status_header")
            continue
        text = scope.text(value, IN_RESPONSES)
        if text and name in added and name.lower() != "set-cookie":
            text = ", ".join((*added[name], text))
        kind: HeaderKind = "set" if name.lower() in hidden or not from_server else "add"
        if _set(route, "response_headers", kind, each, name, text, scope) and text:
            added.setdefault(name, []).append(text)
    for each in scope.all("proxy_hide_header") if from_server else ():
        scope.migration.translated(each)
        if each.args[0] not in added:
            remove_header(route.keys, "response_headers", each.args[0])
    _expires(route, scope)
    return status_header


def _expires(route: DraftTable, scope: Scope) -> None:
    directive = scope.last("expires")
    if directive is None:
        return
    value = directive.args[-1]
    if value == "off":
        scope.migration.translated(directive)
        return
    try:
        age = _FIXED[value] if value in _FIXED else int(time_in_seconds(value.lstrip("-")))
    except ValueError:
        scope.migration.gap(directive, "Cache-Control by `response_headers` of a route, the same for all its responses")
        return
    is_past = value.startswith("-") or age < 0
    text = "no-cache" if is_past else f"max-age={age}"
    edit_header(route.keys, "response_headers", "set", "Cache-Control", text)
    scope.migration.translated(directive)


def _set(
    route: DraftTable,
    side: HeaderSide,
    kind: HeaderKind,
    directive: Directive,
    name: str,
    value: str | None,
    scope: Scope,
) -> bool:
    if value is None or not _is_value(name, value, side):
        known = "{client_ip} {host} {path} {uri} {query} {method} {scheme} {request_id}"
        scope.migration.gap(directive, f"values may hold {known}")
        return False
    scope.migration.translated(directive)
    if value:
        edit_header(route.keys, side, kind, name, value)
    elif kind == "set" and side == "request_headers":
        remove_header(route.keys, side, name)
    return True


def _is_value(name: str, value: str, side: HeaderSide) -> bool:
    """Whether lb.toml may have a field of this name and value."""
    in_requests = side == "request_headers"
    try:
        (request_field if in_requests else response_field)(name)
        check_variables(value, REQUEST_VARIABLES if in_requests else VARIABLES)
    except ValueError:
        return False
    return value.isprintable()
