"""Read ``[listeners.NAME.routes.cache]``: which responses a route keeps, how long, and who gets them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import get_args

from lb.cache.cache_key import KeyTemplate
from lb.http.field_settings import response_field
from lb.http1.grammar import TOKEN_BYTES
from lb.model import CacheSpec, RouteCache
from lb.model.address import Networks
from lb.model.cache import IgnoredField, StaleReason
from lb.model.modes import References
from lb.model.shape import list_of, shape_of, shaped, table_of, tables_of, when, whole
from lb.model.suggestion import did_you_mean
from lb.model.table import Table
from lb.model.values import Reader, boolean, byte_size, duration, network, shown, text, whole_number

__all__ = ["ROUTE_CACHE_TABLE", "read_route_cache"]

_SMALLEST_SLICE, _LARGEST_SLICE = 4 << 10, 1 << 30
"""Bytes. Each slice is a request of its own, and stored on its own."""
_LARGEST_OBJECT = 10**15 - 1
"""A Content-Length has at most 15 digits."""
_FIRST_STATUS, _LAST_STATUS = 200, 599
_CONDITIONS = ("cookie", "header", "query")
_STALE_REASONS: tuple[StaleReason, ...] = get_args(StaleReason)
_IGNORED_FIELDS: tuple[IgnoredField, ...] = get_args(IgnoredField)


def _any_case(words: Iterable[str]) -> str:
    """Return a pattern for words in upper or lower case."""
    letters = (("".join(f"[{each.upper()}{each}]" if each.isalpha() else each for each in word)) for word in words)
    return whole("|".join(letters))


@shaped({"enum": list(_STALE_REASONS)})
def _stale_reason(value: object) -> StaleReason:
    given = text(value)
    for reason in _STALE_REASONS:
        if given == reason:
            return reason
    raise ValueError(_not_one_of(_STALE_REASONS, given))


@shaped({"type": "string", "pattern": _any_case(_IGNORED_FIELDS)})
def _ignored_field(value: object) -> IgnoredField:
    given = text(value)
    for name in _IGNORED_FIELDS:
        if given.lower() == name:
            return name
    raise ValueError(_not_one_of(_IGNORED_FIELDS, given.lower()))


def _not_one_of(choices: tuple[str, ...], given: str) -> str:
    return f"must be one of {', '.join(choices)}, not {shown(given)}{did_you_mean(given, choices)}"


@shaped({"anyOf": [{"const": ""}, shape_of(response_field)]})
def _status_header(value: object) -> str:
    return response_field(value) if value else text(value)


@shaped(shape_of(text))
def _key(value: object) -> str:
    template = text(value)
    KeyTemplate(template)
    return template


@shaped({"type": "string", "pattern": "^(?:cookie|header|query):."})
def _condition(value: object) -> str:
    """Read ``cookie:NAME``, ``header:NAME`` or ``query:NAME``."""
    condition = text(value)
    kind, colon, name = condition.partition(":")
    known = tuple(f"{each}:NAME" for each in _CONDITIONS)
    if kind not in _CONDITIONS or not colon or not name or not name.isprintable():
        hint = did_you_mean(f"{kind}:NAME", known) if kind not in _CONDITIONS else ""
        raise ValueError(f"must be {', '.join(known[:-1])} or {known[-1]}, not {shown(condition)}{hint}")
    if kind != "query" and name.encode().translate(None, TOKEN_BYTES):
        raise ValueError(f"{shown(name)} is no name of a {kind}")
    return condition


ROUTE_CACHE_KEYS: Mapping[str, Reader[object]] = {
    "status_header": _status_header,
    "key": _key,
    "collapse": boolean,
    "background_update": boolean,
    "revalidate": boolean,
    "slice": byte_size(_SMALLEST_SLICE, _LARGEST_SLICE),
    "min_uses": whole_number(least=1),
    "max_object": byte_size(most=_LARGEST_OBJECT),
    "obey_client": boolean,
}


def read_route_cache(table: Table, references: References) -> RouteCache | None:
    """Read the cache of a route. None if it has no valid zone."""
    zone = _zone(table, references)
    values = table.values(ROUTE_CACHE_KEYS)
    if table.has("use_stale"):
        values["use_stale"] = frozenset(table.each("use_stale", _stale_reason))
    values["bypass"] = table.each("bypass", _condition)
    values["no_store"] = table.each("no_store", _condition)
    values["ignore"] = frozenset(table.each("ignore", _ignored_field))
    values["purge"] = Networks(table.each("purge", network))
    valid = _valid(table)
    table.finish()
    return None if zone is None else RouteCache(zone, valid, **values)


def _zone(table: Table, references: References) -> CacheSpec | None:
    zone = table.value("zone", text)
    if not table.has("zone"):
        table.complain('missing, as in zone = "videos"', table.at("zone"))
    elif zone is not None and zone not in references.caches:
        hint = did_you_mean(zone, references.caches) or f", as in [caches.{zone}]"
        table.complain(f"there is no cache {shown(zone)}{hint}", table.at("zone"))
    return None if zone is None else references.caches.get(zone)


def _valid(table: Table) -> tuple[tuple[int | None, float], ...]:
    """Read how long responses are fresh, by their status, or ``any``."""
    valid = table.table("valid")
    found: dict[int | None, float] = {}
    for key in valid.content:
        seconds = valid.value(key, duration)
        status = valid.convert(key, _status, valid.at(key))
        if seconds is not None and status is not None:
            found[status or None] = seconds
    return tuple(found.items())


@shaped({"type": "string", "pattern": "^(?:any|[2-5][0-9]{2})$"})
def _status(value: object) -> int:
    """Read a status; 0 for ``any``."""
    key = text(value)
    if key == "any":
        return 0
    if not (len(key) == 3 and key.isascii() and key.isdigit() and _FIRST_STATUS <= int(key) <= _LAST_STATUS):
        raise ValueError(
            f"must be a status from {_FIRST_STATUS} to {_LAST_STATUS} or any, not {shown(key)}"
            f"{did_you_mean(key, ['any'])}"
        )
    return int(key)


ROUTE_CACHE_TABLE = table_of(
    {
        "zone": text,
        **ROUTE_CACHE_KEYS,
        "use_stale": list_of(_stale_reason),
        "bypass": list_of(_condition),
        "no_store": list_of(_condition),
        "ignore": list_of(_ignored_field),
        "purge": list_of(network),
        "valid": tables_of(shape_of(duration), _status),
    },
    rules=[when({"minProperties": 1}, {"required": ["zone"]})],
)
