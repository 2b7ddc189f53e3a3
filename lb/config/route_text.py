"""Human-readable text of routes: their keys as in the file. Credentials are hidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import attrs

from lb.model import (
    Files,
    HeaderEdits,
    HttpSettings,
    ListenerSpec,
    Redirect,
    Respond,
    RouteCache,
    RouteSpec,
    Secret,
    ToPool,
)
from lb.model.address import Networks
from lb.model.values import shown

__all__ = ["ANY", "route_differences", "route_values", "routes_of"]


@attrs.frozen
class Quoted:
    """A text of any characters. It is shown in quotes, cut after 60 characters."""

    text: str

    def __str__(self) -> str:
        return shown(self.text)


RouteValues: TypeAlias = dict[str, object]
"""Values by their keys in the file: ``pool``, ``request_headers.set.X-A``."""

ANY = ("any",)
"""The value of ``host`` and ``methods`` if there is no condition."""
_CREDENTIALS = ("auth", "cookie", "credential", "key", "password", "secret", "token")
"""Parts of the names of header fields whose values are hidden."""
_OF_THE_RULE = ("name", "hosts", "path", "exact", "methods", "target")


def routes_of(listener: ListenerSpec) -> tuple[RouteSpec, ...]:
    return listener.settings.routes if isinstance(listener.settings, HttpSettings) else ()


def route_values(route: RouteSpec) -> RouteValues:
    """Return the keys of a route: which requests it takes, its target, then those that differ from the default."""
    path = f"={route.path}" if route.exact else route.path
    values: RouteValues = {"host": route.hosts or ANY, "path": path, "methods": route.methods or ANY}
    values |= _target(route)
    for field in attrs.fields(RouteSpec):
        value = getattr(route, field.name)
        if field.name in _OF_THE_RULE or value == field.default:
            continue
        match value:
            case HeaderEdits():
                values |= _edits(field.name, value)
            case RouteCache():
                values |= _cache(value)
            case _:
                values[field.name] = value
    if route.auth is not None:
        values["auth"] = route.auth.name
    return values


def route_differences(old: RouteSpec, new: RouteSpec) -> Iterator[tuple[str, object, object]]:
    """Yield the keys whose values differ, with both values; None where a key has no default."""
    before, after = route_values(old), route_values(new)
    defaults = {key: field.default for key, field in attrs.fields_dict(RouteSpec).items() if key not in _OF_THE_RULE}
    if old.cache is not None and new.cache is not None:
        defaults |= {f"cache.{key}": field.default for key, field in attrs.fields_dict(RouteCache).items()}
    for key in {**before, **after}:
        values = [values.get(key, defaults.get(key)) for values in (before, after)]
        if values[0] != values[1]:
            yield key, values[0], values[1]


def _target(route: RouteSpec) -> RouteValues:
    match route.target:
        case ToPool(pool):
            return {"pool": pool}
        case Files(directory):
            return {"files": directory}
        case Redirect(location, status):
            return {"redirect": location, "status": status}
        case Respond(text, status):
            return {"respond": Quoted(text), "status": status}


def _cache(cache: RouteCache) -> RouteValues:
    """Return the keys of a cache that differ from the default."""
    values: RouteValues = {"cache.zone": cache.zone.name}
    values |= {f"cache.valid.{status or 'any'}": seconds for status, seconds in cache.valid}
    for field in attrs.fields(RouteCache):
        value = getattr(cache, field.name)
        if field.name not in ("zone", "valid") and value not in (field.default, Networks()):
            values[f"cache.{field.name}"] = value
    return values


def _edits(key: str, edits: HeaderEdits) -> RouteValues:
    values: RouteValues = {f"{key}.set.{name}": _shown(name, value) for name, value in edits.set}
    values |= {f"{key}.add.{name}": _shown(name, value) for name, value in edits.add}
    return values | ({f"{key}.remove": edits.remove} if edits.remove else {})


def _shown(name: str, value: str) -> object:
    return Secret(value) if any(part in name.lower() for part in _CREDENTIALS) else Quoted(value)
