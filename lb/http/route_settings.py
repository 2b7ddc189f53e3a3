"""Read ``[[listeners.NAME.routes]]``: which requests a route takes, its target, and what happens on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from lb.http.field_settings import REQUEST_HEADERS_TABLE, RESPONSE_HEADERS_TABLE, read_header_edits, request_field
from lb.http.reference_settings import auth_of, cache_of
from lb.http.route_names import named, problems, specificity
from lb.http.route_readers import (
    host_header,
    host_name,
    method_name,
    path_and_kind,
    prefix_added,
    prefix_stripped,
    request_rate,
    route_name,
    secret_bytes,
    url,
)
from lb.http.target_settings import TARGET_KEYS, TARGET_RULES, read_target
from lb.model import Files, RouteCache, RouteSpec, Secret, ToMedia, ToPool
from lb.model.media import MEDIA_KEY
from lb.model.modes import References
from lb.model.shape import Shape, given, list_of, one_or_list, other_than, table_of, when
from lb.model.table import Table
from lb.model.values import Reader, boolean, byte_size, text, whole_number

__all__ = ["read_routes", "route_table"]

_SLOWEST = 1024
"""Bytes a second. With less, a response would move in steps of a few bytes."""

_LARGEST = 10**15 - 1
"""Bytes of a body: 15 digits, as of a Content-Length."""

ROUTE_KEYS: Mapping[str, Reader[object]] = {
    "name": route_name,
    "strip_prefix": prefix_stripped,
    "add_prefix": prefix_added,
    "host_header": host_header,
    "forward_auth": url,
    "compress": boolean,
    "rate": request_rate,
    "burst": whole_number(least=1),
    "limit_rate": byte_size(_SLOWEST),
    "limit_rate_after": byte_size(most=_LARGEST),
}
_NEEDS = {"auth_headers": "forward_auth", "burst": "rate", "limit_rate_after": "limit_rate"}
"""Keys that mean something only together with another one."""
_FOR_SERVERS: Mapping[str, type[ToPool] | tuple[type[ToPool], type[Files]]] = {
    "strip_prefix": (ToPool, Files),
    "add_prefix": (ToPool, Files),
    "host_header": ToPool,
    "request_headers": ToPool,
    "auth_headers": ToPool,
    "cache": ToPool,
}
"""Keys that change what a server gets, and the targets for which they mean something."""


def read_routes(listener: Table, references: References) -> tuple[RouteSpec, ...]:
    """Read the routes of a listener. Return those without an error, from the most specific to the least."""
    places, routes = [], []
    for path, value in listener.items("routes"):
        errors_before = len(listener.errors)
        route = _route(listener.below(value, path), references)
        if len(listener.errors) == errors_before:
            places.append(path)
            routes.append(route)
    routes = named(routes)
    for path, problem in problems(dict(zip(places, routes, strict=True))):
        listener.complain(problem, path)
    return tuple(sorted(routes, key=specificity))


def _route(table: Table, references: References) -> RouteSpec:
    errors_before = len(table.errors)
    target = read_target(table, references)
    hosts = _hosts(table)
    path, exact = table.value("path", path_and_kind) or ("/", False)
    values = {"name": "", **table.values(ROUTE_KEYS)}
    route = RouteSpec(
        target=target or ToPool(""),
        hosts=hosts,
        path=path,
        exact=exact,
        methods=table.each("methods", method_name),
        request_headers=read_header_edits(table, "request_headers"),
        response_headers=read_header_edits(table, "response_headers"),
        auth=auth_of(table, references),
        auth_headers=table.each("auth_headers", request_field),
        cache=cache_of(table, references),
        viewer_secret=_viewer_secret(table, references),
        **values,
    )
    if isinstance(target, ToMedia):
        route = _to_media(route, target, table)
    if len(table.errors) == errors_before:
        for key, problem in _without_effect(route):
            table.complain(problem, table.at(key))
    table.finish()
    return route


def _to_media(route: RouteSpec, target: ToMedia, table: Table) -> RouteSpec:
    """Return a route whose process sees the application's name in place of the route's path."""
    for key in ("strip_prefix", "add_prefix", "host_header"):
        if table.has(key):
            table.complain("has no effect with 'media'", table.at(key))
    if route.exact:
        table.complain("must be a prefix with 'media'", table.at("path"))
    cache = None if route.cache is None else _of_media(route.cache)
    return attrs.evolve(
        route, strip_prefix=route.path.rstrip("/"), add_prefix=f"/{target.media}", cache=cache, host_header="client"
    )


def _of_media(cache: RouteCache) -> RouteCache:
    """Return the rules of a cache with the defaults of media: nobody gets a list while a newer one comes."""
    default = RouteCache(cache.zone)
    if cache.key == default.key:
        cache = attrs.evolve(cache, key=MEDIA_KEY)
    if cache.use_stale == default.use_stale:
        cache = attrs.evolve(cache, use_stale=default.use_stale - {"updating"})
    return cache


def _viewer_secret(table: Table, references: References) -> Secret | None:
    """Read the file of ``viewer_secret_file``; None if it is absent, or empty."""
    secret = table.value("viewer_secret_file", secret_bytes(references.directory))
    return Secret(secret) if secret else None


def _hosts(table: Table) -> tuple[str, ...]:
    """Read ``host``: one name or wildcard, or a list of them."""
    if isinstance(table.content.get("host"), list):
        if not table.content["host"]:
            table.complain("must name at least one host; leave it out for any host", table.at("host"))
        return table.each("host", host_name)
    host = table.value("host", host_name)
    return () if host is None else (host,)


def _without_effect(route: RouteSpec) -> Iterator[tuple[str, str]]:
    """Yield the keys that say something but cannot have an effect, and why."""
    default = RouteSpec(route.name, route.target)
    given = {key for key in attrs.fields_dict(RouteSpec) if getattr(route, key) != getattr(default, key)}
    for key, needed in _NEEDS.items():
        if key in given and not getattr(route, needed):
            yield key, f"has no effect without {needed!r}"
    for key, targets in _FOR_SERVERS.items():
        if key in given and not isinstance(route.target, targets):
            yield key, "has no effect: no server gets the request"
    strip = route.strip_prefix
    if strip and not (_below(route.path, strip) or (not route.exact and _below(strip, route.path))):
        yield "strip_prefix", f"has no effect: no path of the route begins with {strip!r}"


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix if prefix.endswith("/") else f"{prefix}/")


def route_table() -> Shape:
    """Return the shape of a route."""
    from lb.http.cache_settings import ROUTE_CACHE_TABLE  # noqa: PLC0415 - a process without caches loads none of it

    return table_of(
        {
            **TARGET_KEYS,
            "host": one_or_list(host_name, least=1),
            "path": path_and_kind,
            "methods": list_of(method_name),
            **ROUTE_KEYS,
            "request_headers": REQUEST_HEADERS_TABLE,
            "response_headers": RESPONSE_HEADERS_TABLE,
            "auth": text,
            "auth_headers": list_of(request_field),
            "cache": ROUTE_CACHE_TABLE,
            "viewer_secret_file": text,
        },
        rules=[
            *TARGET_RULES,
            when(given(auth_headers={"minItems": 1}), given(forward_auth=other_than(""))),
            when(given(burst=other_than(RouteSpec("", ToPool("")).burst)), given(rate={"not": {"enum": [0, "0"]}})),
            when(given(limit_rate_after={"not": {"enum": [0, "0"]}}), given(limit_rate={"not": {"enum": [0, "0"]}})),
        ],
    )
