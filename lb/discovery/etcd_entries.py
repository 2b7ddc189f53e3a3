"""Servers as they are registered in etcd: one key for each, whose value is an address or a table. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs

from lb.config.pools import read_server
from lb.model import ServerSpec
from lb.model.printable import printable, shortened
from lb.model.table import Complaint, Table
from lb.model.values import name

__all__ = ["EntrySet", "Registered", "read_entry", "recalled_entry"]

MOST_ERRORS = 10
"""Maximum lines of errors."""
_LONGEST_VALUE = 4096
_LONGEST_KEY_SHOWN = 200


@attrs.frozen
class Registered:
    """A good entry."""

    server: ServerSpec
    table: dict[str, object]
    """As registered; an address alone is a table of it."""


def read_entry(own_name: bytes, value: bytes, directory: Path) -> tuple[Registered | None, list[Complaint]]:
    """Read an entry: the rest of its key after the prefix, and its value. None if there is an error.

    A value that begins with ``{`` or ``"`` is JSON: a table with the keys of ``[[pools.NAME.servers]]`` but for
    ``name``, or an address. Any other is an address. Paths of unix sockets are relative to ``directory``.
    """
    table = Table({}, "", [])
    try:
        server_name = name(own_name.decode())
        content = _content(value)
    except ValueError as error:
        table.complain("is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error))
        return None, table.errors
    if "name" in content:
        table.complain("is the rest of the key, and cannot be set", table.at("name"))
        return None, table.errors
    server = read_server(content, "", table, directory, server_name)
    if server is not None and server.address.has_no_port:
        table.complain(f"{server.address.text!r} needs a port", table.at("address"))
    return (None if table.errors or server is None else Registered(server, content)), table.errors


def recalled_entry(own_name: str, table: Mapping[str, object], directory: Path) -> Registered | None:
    """Return an entry from its table; None if that is not valid."""
    try:
        return read_entry(own_name.encode(), json.dumps(table).encode(), directory)[0]
    except UnicodeEncodeError:  # JSON may hold half a character
        return None


def _content(value: bytes) -> dict[str, object]:
    """Return a value as a table. Raises ValueError."""
    if len(value) > _LONGEST_VALUE:
        raise ValueError(f"is longer than {_LONGEST_VALUE} bytes")
    text = value.decode().strip()
    if not text.startswith(("{", '"')):
        return {"address": text}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
    return content if isinstance(content, dict) else {"address": content}


class EntrySet:
    """The entries under a prefix: the good ones, those that were good, and what is wrong with the others."""

    def __init__(self, prefix: str, directory: Path) -> None:
        self._prefix = prefix
        self._directory = directory
        self._good: dict[str, Registered] = {}
        self._errors: dict[bytes, tuple[str, ...]] = {}
        self._values: dict[bytes, bytes] = {}  # as they were read

    def put(self, own_name: bytes, value: bytes) -> None:
        """Take the value of an entry. A bad one leaves the last good one."""
        if self._values.get(own_name) == value:
            return
        self._values[own_name] = value
        registered, complaints = read_entry(own_name, value, self._directory)
        if registered is None:
            key = _shown_key(self._prefix, own_name)
            self._errors[own_name] = tuple(f"{key}: {complaint}" for complaint in complaints)
        else:
            self._errors.pop(own_name, None)
            self._good[registered.server.name] = registered

    def recall(self, entries: Iterable[Registered]) -> None:
        """Take entries that were good once."""
        self._good |= {each.server.name: each for each in entries}

    def remove(self, own_name: bytes) -> None:
        self._values.pop(own_name, None)
        self._errors.pop(own_name, None)
        self._good.pop(_as_name(own_name), None)

    def keep(self, own_names: set[bytes]) -> None:
        """Remove all entries but these."""
        names = {_as_name(own_name) for own_name in own_names}
        self._good = {each: registered for each, registered in self._good.items() if each in names}
        self._errors = {each: errors for each, errors in self._errors.items() if each in own_names}
        self._values = {each: value for each, value in self._values.items() if each in own_names}

    @property
    def servers(self) -> tuple[ServerSpec, ...]:
        """The servers, by name: the same on all balancers, in whatever order they arrived."""
        return tuple(self._good[each].server for each in sorted(self._good))

    @property
    def tables(self) -> dict[str, dict[str, object]]:
        """The tables of the good entries, by name."""
        return {each: self._good[each].table for each in sorted(self._good)}

    @property
    def errors(self) -> tuple[str, ...]:
        """What is wrong, each line with its key; at most MOST_ERRORS lines."""
        errors = [error for own_name in sorted(self._errors) for error in self._errors[own_name]]
        if len(errors) <= MOST_ERRORS:
            return tuple(errors)
        return (*errors[: MOST_ERRORS - 1], f"{self._prefix}: {len(errors) - MOST_ERRORS + 1} more errors")


def _as_name(own_name: bytes) -> str:
    """Return the server's name; of a rest that is not UTF-8 a text that no server has as its name."""
    return own_name.decode(errors="surrogateescape")


def _shown_key(prefix: str, own_name: bytes) -> str:
    """Return a key as one printable line that is not too long."""
    return shortened(prefix + printable(own_name.decode(errors="backslashreplace")), _LONGEST_KEY_SHOWN)
