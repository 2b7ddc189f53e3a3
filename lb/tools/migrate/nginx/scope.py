"""What holds at a place of nginx's configuration: the directives of its blocks, the inner ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.nginx.variables import filled

__all__ = ["Scope"]


@attrs.frozen
class Scope:
    """A place: its blocks from the outermost to the innermost."""

    migration: Migration
    blocks: tuple[Directive, ...]
    facts: Mapping[str, str] = attrs.field(factory=dict)
    """Values of variables that are known here: ``server_port``, ``server_name``, ``https``."""

    @property
    def block(self) -> Directive:
        """The innermost block."""
        return self.blocks[-1]

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as clients come."""
        return "https" if self.facts.get("https") else "http"

    def inside(self, block: Directive, **facts: str) -> Scope:
        """Return the place in a block of this one."""
        return attrs.evolve(self, blocks=(*self.blocks, block), facts={**self.facts, **facts})

    def own(self, name: str) -> list[Directive]:
        """Return the directives of this name in the innermost block."""
        return self.block.below(name)

    def all(self, name: str) -> list[Directive]:
        """Return the directives of this name that hold here: those of the innermost block that has one."""
        return next(filter(None, (block.below(name) for block in reversed(self.blocks))), [])

    def last(self, name: str) -> Directive | None:
        """Return the directive of this name that holds here; None if there is none."""
        found = self.all(name)
        return found[-1] if found else None

    def take(self, name: str, key: str = "") -> str | None:
        """Return the first argument of the directive of this name that holds here, and note it as translated."""
        found = self.last(name)
        if found is None or not found.args:
            return None
        self.migration.translated(found, key)
        return found.args[0]

    def is_on(self, name: str) -> bool:
        """Whether a switch is on here. It is noted as translated."""
        return self.take(name) == "on"

    def read(self, name: str, reader: Callable[[str], str]) -> str | None:
        """Return what :meth:`take` does, converted; None, with a gap, if it cannot be."""
        found = self.last(name)
        text = self.take(name)
        if found is None or text is None:
            return None
        try:
            return reader(text)
        except ValueError:
            self.migration.gap(found, "variables are not known here: write a value")
            return None

    def constants(self) -> Mapping[str, str]:
        """Return the variables that are set to a text without variables, or to others that are."""
        found = dict(self.facts)
        for block in self.blocks:
            for each in block.below("set"):
                value = filled(each.args[1], found) if len(each.args) > 1 else None
                if value is not None:
                    found[each.args[0].lstrip("$")] = value
                    self.migration.translated(each)
        return found

    def text(self, value: str, variables: Mapping[str, str]) -> str | None:
        """Return a text with ``{…}`` for nginx's variables; None if one has no counterpart."""
        return filled(value, {**variables, **self.constants()})
