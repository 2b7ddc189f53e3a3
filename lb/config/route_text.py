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
    ToMedia,
    ToPool,
)
from lb.model.address import Networks
from lb.model.media import MEDIA_KEY
from lb.model.values import shown

__all__ = [
    "ANY",
    "KeyValues",
    "cache_defaults",
    "cache_values",
    "differences",
    "route_differences",
    "route_values",
    "routes_of",
]


@attrs.frozen
class Quoted:
    """A text of any characters. It is shown in quotes, cut after 60 characters."""

    text: str

    def __str__(self) -> str:
        return shown(self.text)


KeyValues: TypeAlias = dict[str, object]
"""KeyValues by their keys in the file: ``pool``, ``request_headers.set.X-A``."""

ANY = ("any",)
"""The value of ``host`` and ``methods`` if there is no condition."""
_CREDENTIALS = ("auth", "cookie", "credential", "key", "password", "secret", "token")
"""Parts of the names of header fields whose values are hidden."""
_OF_THE_RULE = ("name", "hosts", "path", "exact", "methods", "target")


def routes_of(listener: ListenerSpec) -> tuple[RouteSpec, ...]:
    return listener.settings.routes if isinstance(listener.settings, HttpSettings) else ()


def route_values(route: RouteSpec) -> KeyValues:
    """Return the keys of a route: which requests it takes, its target, then those that differ from the default."""
    path = f"={route.path}" if route.exact else route.path
    values: KeyValues = {"host": route.hosts or ANY, "path": path, "methods": route.methods or ANY}
    values |= _target(route)
    for field in attrs.fields(RouteSpec):
        value = getattr(route, field.name)
        if field.name in _OF_THE_RULE or value == field.default:
            continue
        match value:
            case HeaderEdits():
                values |= _edits(field.name, value)
            case RouteCache():
                values |= cache_values(value)
            case _:
                values[field.name] = value
    if route.auth is not None:
        values["auth"] = route.auth.name
    if isinstance(route.target, ToMedia):
        values = {key: value for key, value in values.items() if (key, value) not in _of_media(route)}
    if route.viewer_secret is not None:
        values["viewer_secret_file"] = values.pop("viewer_secret")
    return values


def _of_media(route: RouteSpec) -> tuple[tuple[str, object], ...]:
    """Return what follows from ``media``: keys that are not in the file."""
    prefixes = {key: getattr(route, key) for key in ("strip_prefix", "add_prefix")}
    return (*prefixes.items(), ("cache.key", MEDIA_KEY))


def route_differences(old: RouteSpec, new: RouteSpec) -> Iterator[tuple[str, object, object]]:
    """Yield the keys whose values differ, with both values; None where a key has no default."""
    defaults = {key: field.default for key, field in attrs.fields_dict(RouteSpec).items() if key not in _OF_THE_RULE}
    if old.cache is not None and new.cache is not None:
        defaults |= cache_defaults()
    return differences(route_values(old), route_values(new), defaults)


def differences(before: KeyValues, after: KeyValues, defaults: KeyValues) -> Iterator[tuple[str, object, object]]:
    """Yield the keys whose values differ, with both values; the default where a key is absent."""
    for key in {**before, **after}:
        values = [values.get(key, defaults.get(key)) for values in (before, after)]
        if values[0] != values[1]:
            yield key, values[0], values[1]


def _target(route: RouteSpec) -> KeyValues:
    match route.target:
        case ToMedia(media=media):
            return {"media": media}
        case ToPool(pool):
            return {"pool": pool}
        case Files(directory):
            return {"files": directory}
        case Redirect(location, status):
            return {"redirect": location, "status": status}
        case Respond(text, status):
            return {"respond": Quoted(text), "status": status}


def cache_values(cache: RouteCache) -> KeyValues:
    """Return the keys of a cache that differ from the default."""
    values: KeyValues = {"cache.zone": cache.zone.name}
    values |= {f"cache.valid.{status or 'any'}": seconds for status, seconds in cache.valid}
    for field in attrs.fields(RouteCache):
        value = getattr(cache, field.name)
        if field.name not in ("zone", "valid") and value not in (field.default, Networks()):
            values[f"cache.{field.name}"] = value
    return values


def cache_defaults() -> KeyValues:
    return {f"cache.{key}": field.default for key, field in attrs.fields_dict(RouteCache).items()}


def _edits(key: str, edits: HeaderEdits) -> KeyValues:
    values: KeyValues = {f"{key}.set.{name}": _shown(name, value) for name, value in edits.set}
    values |= {f"{key}.add.{name}": _shown(name, value) for name, value in edits.add}
    return values | ({f"{key}.remove": edits.remove} if edits.remove else {})


def _shown(name: str, value: str) -> object:
    return Secret(value) if any(part in name.lower() for part in _CREDENTIALS) else Quoted(value)
