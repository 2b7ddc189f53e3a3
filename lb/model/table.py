"""Reader for one table of the configuration file: returns values, collects errors, reports unknown keys.

Reading never stops at an error, so that one run reports all errors. An invalid value counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import attrs

from lb.model.suggestion import did_you_mean
from lb.model.values import Reader, shown

__all__ = ["Complaint", "Table", "join"]

T = TypeVar("T")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def join(path: str, key: str) -> str:
    """Return the path of a key in a table, quoted where TOML needs quotes; always one line."""
    part = key if _BARE_KEY.fullmatch(key) else repr(key)
    return f"{path}.{part}" if path else part


class Complaint(NamedTuple):
    """What is wrong with a part of a file."""

    path: str
    """The path of the part, such as ``pools.web.servers[1].weight``; empty for the whole file."""
    message: str
    """One line."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@attrs.define
class Table:
    """The keys below ``path``. A method that reads a key marks it as known; :meth:`finish` reports the others."""

    content: Mapping[str, object]
    path: str
    errors: list[Complaint]
    """Errors of the whole file, shared by all its tables."""
    known: set[str] = attrs.field(factory=set)

    def complain(self, message: str, path: str | None = None) -> None:
        """Record an error of this table, or of ``path``; the message becomes one line."""
        self.errors.append(Complaint(self.path if path is None else path, " ".join(message.splitlines())))

    def at(self, key: str) -> str:
        """Return the path of a key of this table."""
        return join(self.path, key)

    def has(self, key: str) -> bool:
        self.known.add(key)
        return key in self.content

    def convert(self, value: object, reader: Reader[T], path: str) -> T | None:
        """Convert a value with ``reader``. Returns None and records an error for ``path`` if it is invalid."""
        try:
            return reader(value)
        except ValueError as error:
            self.complain(str(error), path)
            return None

    def value(self, key: str, reader: Reader[T]) -> T | None:
        """Return one value; None if it is absent or invalid."""
        if not self.has(key):
            return None
        try:
            return reader(self.content[key])
        except ValueError as error:  # only then the path is made
            self.complain(str(error), self.at(key))
            return None

    def values(self, readers: Mapping[str, Reader[object]]) -> dict[str, Any]:
        """Return the values that are present and valid, as keyword arguments. The model supplies the defaults."""
        self.known.update(readers)
        read = {key: self.value(key, reader) for key, reader in readers.items() if key in self.content}
        return {key: value for key, value in read.items() if value is not None}

    def items(self, key: str) -> list[tuple[str, object]]:
        """Return the items of a list, each with its path."""
        found = self.content[key] if self.has(key) else []
        if isinstance(found, list):
            return [(f"{self.at(key)}[{index}]", item) for index, item in enumerate(found)]
        self.complain(f"must be a list, not {shown(found)}", self.at(key))
        return []

    def each(self, key: str, reader: Reader[T]) -> tuple[T, ...]:
        """Return the items of a list that are valid; what comes again is left out."""
        found = (self.convert(value, reader, path) for path, value in self.items(key))
        return tuple(dict.fromkeys(each for each in found if each is not None))

    def below(self, content: object, path: str) -> Table:
        """Return a nested table. Returns an empty one and records an error if the content is not a table."""
        if isinstance(content, dict):
            return Table(content, path, self.errors)
        self.complain(f"must be a table, not {shown(content)}", path)
        return Table({}, path, self.errors)

    def table(self, key: str) -> Table:
        """Return the table at a key; an empty one if it is absent or invalid."""
        return self.below(self.content[key] if self.has(key) else {}, self.at(key))

    def tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """Yield the named tables of a section, such as all of ``[pools.*]``."""
        section = self.table(key)
        for name, content in section.content.items():
            below = section.below(content, section.at(name))
            if isinstance(content, dict):
                yield name, below

    def unknown(self) -> list[str]:
        """Return the keys that were not read."""
        return [key for key in self.content if key not in self.known]

    def finish(self) -> None:
        """Report all keys that were not read as errors."""
        for key in self.unknown():
            self.complain(f"unknown key{did_you_mean(key, self.known)}", self.at(key))
