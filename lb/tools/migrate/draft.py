"""A draft of lb.toml: tables with keys and comments, which formats fill in any order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

__all__ = ["Draft", "DraftTable", "DraftValue"]

DraftValue: TypeAlias = "str | int | float | bool | list[DraftValue] | dict[str, DraftValue]"


@attrs.define(eq=False)
class DraftTable:
    """A table: its keys, its comments, and the tables below it."""

    keys: dict[str, DraftValue] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    """Comments, one paragraph each, without ``#``."""
    below: dict[str, DraftTable | list[DraftTable]] = attrs.field(factory=dict)
    """Tables, and arrays of tables, by their key."""

    def __getitem__(self, key: str) -> DraftValue:
        return self.keys[key]

    def __setitem__(self, key: str, value: DraftValue) -> None:
        self.keys[key] = value

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def get(self, key: str) -> DraftValue | None:
        """Return the value of a key; None if it is not set."""
        return self.keys.get(key)

    def update(self, values: Mapping[str, DraftValue]) -> None:
        """Set several keys."""
        self.keys.update(values)

    def extend(self, key: str, value: DraftValue) -> None:
        """Add a value to a list that does not have it yet."""
        found = self.keys.setdefault(key, [])
        assert isinstance(found, list)  # noqa: S101 - the formats know what they have put there
        if value not in found:
            found.append(value)

    def put(self, key: str, name: str, value: DraftValue) -> None:
        """Set a name in a key that is a small table, such as ``valid`` of a cache."""
        found = self.keys.setdefault(key, {})
        assert isinstance(found, dict)  # noqa: S101 - likewise
        found[name] = value

    def table(self, *path: str) -> DraftTable:
        """Return the table at a path below this one; it is made if it is not there."""
        found = self
        for key in path:
            below = found.below.setdefault(key, DraftTable())
            assert isinstance(below, DraftTable)  # noqa: S101 - likewise
            found = below
        return found

    def add(self, key: str) -> DraftTable:
        """Add a table to an array of tables, such as ``routes``."""
        array = self.rows(key)
        array.append(DraftTable())
        return array[-1]

    def rows(self, key: str) -> list[DraftTable]:
        """Return an array of tables; an empty one is made if it is not there."""
        found = self.below.setdefault(key, [])
        assert isinstance(found, list)  # noqa: S101 - likewise
        return found

    def note(self, text: str) -> None:
        """Add a comment, once."""
        if text not in self.notes:
            self.notes.append(text)

    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.keys or self.notes or any(True for _ in self._filled()))

    def _filled(self) -> Iterator[DraftTable]:
        for below in self.below.values():
            yield from (each for each in (below if isinstance(below, list) else [below]) if not each.is_empty())


class Draft(DraftTable):
    """The whole file. Its own notes stand at its beginning."""

    def listener(self, name: str) -> DraftTable:
        return self.table("listeners", name)

    def pool(self, name: str) -> DraftTable:
        return self.table("pools", name)
