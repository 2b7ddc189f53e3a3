"""Routes among each other: their names, their order, and those that cannot be told apart. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs

from lb.model import RouteSpec

__all__ = ["named", "problems", "specificity"]


def named(routes: Sequence[RouteSpec]) -> list[RouteSpec]:
    """Give the routes without a name their host and path as a name. Where several share these, methods are added."""
    own = Counter(_host_and_path(route) for route in routes if not route.name)
    return [route if route.name else attrs.evolve(route, name=_default_name(route, own)) for route in routes]


def _default_name(route: RouteSpec, own: Mapping[str, int]) -> str:
    name = _host_and_path(route)
    return f"{name} {','.join(route.methods)}" if route.methods and own[name] > 1 else name


def _host_and_path(route: RouteSpec) -> str:
    """Return the first host, and the path, as written in the file."""
    return f"{route.hosts[0] if route.hosts else ''}{'=' if route.exact else ''}{route.path}"


def specificity(route: RouteSpec) -> tuple[object, ...]:
    """Return a key that sorts routes from the most specific to the least: hosts, wildcards, any host; then paths."""
    host = route.hosts[0] if route.hosts else ""
    wildcard = host.startswith("*")
    by_host = (not route.hosts, wildcard, -len(host) if wildcard else 0, host)
    return (*by_host, not route.exact, -len(route.path), route.path, not route.methods, route.methods)


def problems(routes: Mapping[str, RouteSpec]) -> Iterator[tuple[str, str]]:
    """Yield the places of routes that take the same requests as one before, or have its name, and the problem.

    ``routes`` is by place in the file.
    """
    takers: dict[tuple[object, ...], str] = {}
    names: dict[str, str] = {}
    for place, route in routes.items():
        requests = {
            (host, route.exact, route.path, method): f"{method} {host}{route.path}".strip()
            for host in route.hosts or ("",)
            for method in route.methods or ("",)
        }
        same = next((each for each in requests if each in takers), None)
        if same is not None:
            yield place, f"takes the same requests as {takers[same]}: {requests[same]}"
        elif route.name in names:
            yield place, f"{route.name!r} is already the name of {names[route.name]}"
        for each in requests:
            takers.setdefault(each, place)
        names.setdefault(route.name, place)
