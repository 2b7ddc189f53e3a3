"""The proxies of haproxy.cfg: frontends, backends and listens, with the defaults that hold for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from lb.tools.migrate.haproxy.values import time_of
from lb.tools.migrate.migration import Directive, Migration

__all__ = ["Proxy", "proxies_of"]

_Value = TypeVar("_Value")


@attrs.frozen(eq=False)
class Proxy:
    """A section, and the sections of defaults that it inherits from, the nearest first."""

    migration: Migration
    section: Directive
    defaults: tuple[Directive, ...] = ()

    @property
    def name(self) -> str:
        return self.section.args[0] if self.section.args else ""

    @property
    def is_front(self) -> bool:
        return self.section.name in ("frontend", "listen")

    @property
    def is_back(self) -> bool:
        return self.section.name in ("backend", "listen")

    @property
    def is_http(self) -> bool:
        return self.read("mode", str) == "http"

    def own(self, name: str) -> list[Directive]:
        """Return the lines of this name in the section itself."""
        return self.section.below(name)

    def all(self, *names: str) -> list[Directive]:
        """Return the lines of these names, in their order, those of the defaults first."""
        sections = (*reversed(self.defaults), self.section)
        return [each for section in sections for each in section.block or () if each.name in names]

    def last(self, name: str) -> Directive | None:
        """Return the line of this name that counts; None if there is none."""
        found = self.all(name)
        return found[-1] if found else None

    def option(self, name: str) -> Directive | None:
        """Return ``option NAME`` if it is on, and note it as translated."""
        found = self.all(f"option {name}", f"no option {name}", f"default option {name}")
        if not found:
            return None
        for each in found:
            self.migration.translated(each, "")
        return found[-1] if found[-1].name == f"option {name}" else None

    def read(self, name: str, reader: Callable[[str], _Value], key: str = "") -> _Value | None:
        """Return the first argument of the line that counts, converted; None if there is none, or it is a gap."""
        found = self.last(name)
        if found is None:
            return None
        for each in self.all(name):
            self.migration.translated(each, key)
        try:
            return reader(found.args[0] if found.args else "")
        except ValueError as error:
            self.migration.gap(found, str(error))
            return None

    def time(self, name: str) -> float | None:
        """Return ``timeout NAME`` in seconds; None if it is not set."""
        return self.read(f"timeout {name}", time_of)


def proxies_of(root: Directive, migration: Migration) -> Sequence[Proxy]:
    """Return the proxies that are not disabled."""
    named: dict[str, tuple[Directive, ...]] = {}
    current: tuple[Directive, ...] = ()
    found = []
    for each in root.block or ():
        parent = named.get(each.args[each.args.index("from") + 1], ()) if "from" in each.args[:-1] else None
        if each.name == "defaults":
            current = (each, *(parent or ()))
            migration.translated(each, "")
            if each.args and each.args[0] != "from":
                named[each.args[0]] = current
        elif each.name in ("frontend", "backend", "listen"):
            if each.below("disabled"):
                migration.all_not_needed(each, "disabled")
                continue
            found.append(Proxy(migration, each, current if parent is None else parent))
    return found
