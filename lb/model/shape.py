"""The shapes of values in lb.toml: what a reader takes, as JSON Schema (draft-07). ``lb schema`` is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

__all__ = [
    "HOST_PATTERN",
    "IPV4_PATTERN",
    "IPV6_PATTERN",
    "LOCAL_PATTERN",
    "NAME_PATTERN",
    "NOWHERE",
    "PORT_PATTERN",
    "UNIX_PATTERN",
    "Keys",
    "Shape",
    "given",
    "list_of",
    "one_or_list",
    "or_boolean",
    "other_than",
    "shape_of",
    "shaped",
    "table_of",
    "tables_of",
    "when",
    "whole",
]

Shape: TypeAlias = Mapping[str, object]
"""A JSON Schema. It takes all values that its reader takes. It may take more: only the reader knows the files, say."""

Keys: TypeAlias = Mapping[str, Callable[[Any], object] | Shape | bool]
"""The keys of a table, each with its reader or its shape. False: it has no such key."""

NOWHERE: Shape = {"not": {}}
"""The shape of a key that is known and yet has no place there: the loader says why."""

_Reader = TypeVar("_Reader", bound=Callable[[Any], object])

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4_PATTERN = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
IPV6_PATTERN = "[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*"
_LETTER = r"[A-Za-z0-9_-]|[^\x00-\x7f]"
NAME_PATTERN = rf"(?:(?:{_LETTER})+\.)*[0-9]*(?:[A-Za-z_-]|[^\x00-\x7f])(?:{_LETTER})*\.?"
"""A host name. The last label of a name is no number."""
HOST_PATTERN = rf"(?:{IPV4_PATTERN}|\[{IPV6_PATTERN}(?:%[^\]]+)?\]|{NAME_PATTERN})"
PORT_PATTERN = "0{0,4}(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
"""A port from 1 to 65535."""
UNIX_PATTERN = "unix:(?:@.+|[^@].*)"
LOCAL_PATTERN = rf"unix:.*|(?:localhost|127(?:\.{_OCTET}){{3}}|\[[0:]*:0*1\]):.*"
"""An address that other machines do not reach."""


def whole(pattern: str) -> str:
    """Return a pattern that the whole text must match: in JSON Schema, a part is enough."""
    return f"^(?:{pattern})$"


def shaped(shape: Shape) -> Callable[[_Reader], _Reader]:
    """Return a decorator that says which shape the values of a reader have."""

    def mark(reader: _Reader) -> _Reader:
        vars(reader)["shape"] = shape
        return reader

    return mark


def shape_of(reader: Callable[[Any], object]) -> Shape:
    """Return the shape of a reader's values. Raises LookupError for a reader that does not say it."""
    found: Shape | None = vars(reader).get("shape")
    if found is None:
        name = getattr(reader, "__qualname__", repr(reader))
        raise LookupError(f"the reader {name} has no shape: decorate it with lb.model.shape.shaped")
    return found


def _shape(given: Callable[[Any], object] | Shape | bool) -> Shape | bool:
    return shape_of(given) if callable(given) else given


def table_of(keys: Keys, *, required: Sequence[str] = (), rules: Iterable[Shape] = ()) -> Shape:
    """Return the shape of a table with these keys and no others. ``rules`` hold as well."""
    shape: dict[str, object] = {
        "type": "object",
        "properties": {key: _shape(each) for key, each in keys.items()},
        "additionalProperties": False,
    }
    return shape | ({"required": list(required)} if required else {}) | ({"allOf": list(rules)} if rules else {})


def tables_of(table: Shape, name: Callable[[Any], object]) -> Shape:
    """Return the shape of a section of tables by name, such as ``[pools.*]``."""
    return {"type": "object", "additionalProperties": table, "propertyNames": shape_of(name)}


def list_of(item: Callable[[Any], object] | Shape, *, least: int = 0) -> Shape:
    """Return the shape of a list of at least so many items."""
    return {"type": "array", "items": _shape(item)} | ({"minItems": least} if least else {})


def one_or_list(item: Callable[[Any], object], *, least: int = 0) -> Shape:
    """Return the shape of one item, or of a list of them."""
    return {"anyOf": [shape_of(item), list_of(item, least=least)]}


def or_boolean(table: Shape, *values: bool) -> Shape:
    """Return the shape of a table, or of one of these booleans in its place."""
    refused: Shape = {} if len(values) > 1 else {"not": {"const": not values[0]}}
    return {**table, "type": ["object", "boolean"], **refused}


def given(**values: Shape) -> Shape:
    """Return the shape of a table that has these keys, with such values."""
    return {"type": "object", "properties": values, "required": list(values)}


def other_than(value: object) -> Shape:
    return {"not": {"const": value}}


def when(condition: Shape, then: Shape) -> Shape:
    """Return the rule that what meets a condition has another shape as well."""
    return {"if": condition, "then": then}
