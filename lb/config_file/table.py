"""One table of the configuration file while it is read: values go out, complaints pile up, unknown keys are told.

Reading never stops at an error, so that one run shows them all. What is wrong counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import attrs

from lb.config_file.values import Reader, did_you_mean, shown

__all__ = ["Table", "join"]

T = TypeVar("T")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def join(path: str, key: str) -> str:
    """The path of a key below a table, quoted where TOML would quote it; always on one line."""
    word = key if _BARE_KEY.fullmatch(key) else repr(key)
    return f"{path}.{word}" if path else word


@attrs.define
class Table:
    """The keys below ``path``. Each method that asks for a key makes it known; :meth:`finish` reports the others."""

    content: Mapping[str, object]
    path: str
    errors: list[str]
    """Of the whole file, shared by all of its tables: ``path: message``."""
    known: set[str] = attrs.field(factory=set)

    def complain(self, message: str, path: str | None = None) -> None:
        """Note an error of this table, or of the place below it that ``path`` names; it becomes one line."""
        self.errors.append(f"{self.path if path is None else path}: {' '.join(message.splitlines())}")

    def at(self, key: str) -> str:
        """The path of a key of this table."""
        return join(self.path, key)

    def has(self, key: str) -> bool:
        self.known.add(key)
        return key in self.content

    def convert(self, value: object, reader: Reader[T], path: str) -> T | None:
        """What ``reader`` makes of a value; None, and a complaint about ``path``, if it is not right."""
        try:
            return reader(value)
        except ValueError as error:
            self.complain(str(error), path)
            return None

    def value(self, key: str, reader: Reader[T]) -> T | None:
        """One value; None if it is absent or wrong."""
        return self.convert(self.content[key], reader, self.at(key)) if self.has(key) else None

    def values(self, readers: Mapping[str, Reader[object]]) -> dict[str, Any]:
        """Those values that are there and right, ready to be keyword arguments: defaults are the model's business."""
        read = {key: self.value(key, reader) for key, reader in readers.items()}
        return {key: value for key, value in read.items() if value is not None}

    def items(self, key: str) -> list[tuple[str, object]]:
        """The items of a list, each with its path."""
        found = self.content[key] if self.has(key) else []
        if isinstance(found, list):
            return [(f"{self.at(key)}[{index}]", item) for index, item in enumerate(found)]
        self.complain(f"must be a list, not {shown(found)}", self.at(key))
        return []

    def below(self, content: object, path: str) -> Table:
        """A table inside this one; an empty one, and a complaint, if the content is none."""
        if isinstance(content, dict):
            return Table(content, path, self.errors)
        self.complain(f"must be a table, not {shown(content)}", path)
        return Table({}, path, self.errors)

    def table(self, key: str) -> Table:
        """The table of that key; an empty one if it is absent or wrong."""
        return self.below(self.content[key] if self.has(key) else {}, self.at(key))

    def tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """The named tables of a section, such as all of ``[pools.*]``."""
        section = self.table(key)
        for name, content in section.content.items():
            below = section.below(content, section.at(name))
            if isinstance(content, dict):
                yield name, below

    def unknown(self) -> list[str]:
        """The keys that nobody has asked for."""
        return [key for key in self.content if key not in self.known]

    def finish(self) -> None:
        """Everything was read: what is left is a mistake."""
        for key in self.unknown():
            self.complain(f"unknown key{did_you_mean(key, self.known)}", self.at(key))
