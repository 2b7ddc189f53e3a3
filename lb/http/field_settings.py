"""Read the changes of header fields in a route."""

from __future__ import annotations

import re
from collections.abc import Collection

from lb.http.templates import VARIABLES
from lb.http1.field import CONNECTION, EXPECT, FRAMING, HOP_BY_HOP, HOST, UPGRADE, meaning_of
from lb.http1.grammar import TOKEN_BYTES, VALUE_BYTES
from lb.model import HeaderEdits
from lb.model.shape import Shape, list_of, shape_of, shaped, table_of, tables_of
from lb.model.suggestion import did_you_mean
from lb.model.table import Table
from lb.model.values import Reader, shown, text

__all__ = [
    "REQUEST_HEADERS_TABLE",
    "REQUEST_VARIABLES",
    "RESPONSE_HEADERS_TABLE",
    "check_variables",
    "read_header_edits",
    "request_field",
    "response_field",
]

REQUEST_VARIABLES = tuple(name for name in VARIABLES if name not in ("server", "cache_status"))
"""The variables that have a value before there is a response."""
_FIELD_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
_WORD = re.compile(r"\{([a-z_]+)\}")

_OF_THE_CONNECTION = CONNECTION | FRAMING | HOP_BY_HOP | UPGRADE | EXPECT
"""What these say is true of one connection or of one message's length, and is written for each anew."""


@shaped({"type": "string", "pattern": _FIELD_NAME})
def response_field(value: object) -> str:
    """The name of a field that may be changed in a response."""
    name = text(value)
    if not name or name.encode().translate(None, TOKEN_BYTES):
        raise ValueError(f"must be the name of a header field, not {shown(name)}")
    if meaning_of(name.encode()) & _OF_THE_CONNECTION:
        raise ValueError(f"{shown(name)} is about the connection or the length, and cannot be changed")
    return name


@shaped({"type": "string", "pattern": _FIELD_NAME, "not": {"pattern": "^[Hh][Oo][Ss][Tt]$"}})
def request_field(value: object) -> str:
    """The name of a field that may be changed in a request."""
    name = response_field(value)
    if meaning_of(name.encode()) & HOST:
        raise ValueError(f"{shown(name)} cannot be changed here; use 'host_header'")
    return name


def check_variables(value: str, known: Collection[str]) -> None:
    """Raise ValueError if a word in braces is no variable. Other braces are a part of the text."""
    for word in _WORD.findall(value):
        if word not in known:
            listed = ", ".join(f"{{{each}}}" for each in known)
            raise ValueError(f"there is no variable {{{word}}} here{did_you_mean(word, known)}; known: {listed}")


def read_header_edits(route: Table, key: str) -> HeaderEdits:
    """Read ``request_headers`` or ``response_headers``."""
    table = route.table(key)
    in_requests = key == "request_headers"
    name = request_field if in_requests else response_field
    value = _field_value(REQUEST_VARIABLES if in_requests else VARIABLES)
    removed = (table.convert(value, name, path) for path, value in table.items("remove"))
    edits = HeaderEdits(
        set=_fields(table, "set", name, value),
        add=_fields(table, "add", name, value),
        remove=tuple(each for each in removed if each is not None),
    )
    table.finish()
    return edits


def _fields(edits: Table, key: str, name: Reader[str], value: Reader[str]) -> tuple[tuple[str, str], ...]:
    """Read a table of fields: names, which differ in more than case, and values."""
    table = edits.table(key)
    fields: dict[str, tuple[str, str]] = {}
    for given in table.content:
        valid = table.convert(given, name, table.at(given))
        found = table.value(given, value)
        if valid is not None and valid.lower() in fields:
            table.complain(f"is {fields[valid.lower()][0]!r} again; case does not matter", table.at(given))
        elif valid is not None and found is not None:
            fields[valid.lower()] = (valid, found)
    return tuple(fields.values())


def _field_value(variables: Collection[str]) -> Reader[str]:
    """Return a reader for the value of a field, which may hold these variables."""

    @shaped({"type": "string", "pattern": r"^[^\x00-\x08\x0a-\x1f\x7f]*$"})
    def read(value: object) -> str:
        found = text(value)
        if found.encode().translate(None, VALUE_BYTES):
            raise ValueError("must not hold control characters")
        check_variables(found, variables)
        return found

    return read


def _edits(name: Reader[str]) -> Shape:
    values = shape_of(_field_value(()))
    return table_of({"set": tables_of(values, name), "add": tables_of(values, name), "remove": list_of(name)})


REQUEST_HEADERS_TABLE = _edits(request_field)
RESPONSE_HEADERS_TABLE = _edits(response_field)
