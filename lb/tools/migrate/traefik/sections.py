"""Tables of Traefik's configuration: what is read of them is noted."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lb.tools.migrate.migration import Directive, Migration

__all__ = ["Section"]


@attrs.frozen(eq=False)
class Section:
    """A table, or a list of tables. Keys are the same in upper and lower case."""

    migration: Migration
    directive: Directive

    @property
    def name(self) -> str:
        return self.directive.name

    def child(self, *path: str) -> Section | None:
        """Return the table at a path; None if it is not there."""
        found: Section | None = self
        for name in path:
            line = found.line(name) if found is not None else None
            if found is None or line is None:
                return None
            self.migration.translated(line)
            found = Section(self.migration, line)
        return found

    def children(self, *path: str) -> Iterator[Section]:
        """Yield the tables in a table, or in a list of them."""
        found = self.child(*path)
        for each in found.directive.block or () if found is not None else ():
            self.migration.translated(each)
            yield Section(self.migration, each)

    def entry(self, table: str, name: str) -> Section | None:
        """Return what has exactly this name in a table, such as a service; None if there is none."""
        return next((each for each in self.children(table) if each.name == name), None)

    def line(self, name: str) -> Directive | None:
        """Return the line of a key; it is not noted."""
        return next((each for each in self.directive.block or () if each.name.lower() == name.lower()), None)

    def texts(self, name: str, key: str = "") -> tuple[str, ...]:
        """Return the values of a key, a list or one; none if it is not there."""
        found = self.line(name)
        if found is None:
            return ()
        self.migration.translated(found, key)
        return found.args

    def text(self, name: str, key: str = "") -> str:
        """Return the value of a key; nothing if it is not there."""
        return next(iter(self.texts(name, key)), "")

    def flag(self, name: str) -> bool:
        """Whether a key is true, or a table."""
        found = self.line(name)
        if found is None:
            return False
        self.migration.translated(found)
        return found.block is not None or found.args == ("true",)

    def gap(self, nearest: str) -> None:
        """Say that the table as a whole has no counterpart."""
        self.migration.gap(self.directive, nearest)
        self.migration.all_not_needed(self.directive, f"a part of `{self.name}`")

    def not_needed(self, why: str) -> None:
        """Say that the table as a whole is not needed."""
        self.migration.all_not_needed(self.directive, why)
