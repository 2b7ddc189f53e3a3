"""What became of each directive of a file: translated, not needed, or without a counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from lb.tools.migrate.draft import DraftTable

__all__ = ["Directive", "Migration", "MigrationFinding"]

_Outcome = Literal["translated", "not needed", "gap"]
_WORSE: tuple[_Outcome, ...] = ("not needed", "translated", "gap")
_LONGEST = 80
"""Characters of a directive in a message."""


@attrs.frozen(eq=False)
class Directive:
    """A line of a configuration: a word, its arguments, and, if it is a block, the directives in it."""

    name: str
    args: tuple[str, ...]
    file: str
    """As the user would name it: relative to the directory of the file that is migrated."""
    line: int
    block: tuple[Directive, ...] | None = None

    def __str__(self) -> str:
        text = " ".join((self.name, *self.args)).replace("\n", " ")
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

    @property
    def where(self) -> str:
        """The file and the line, for messages."""
        return f"{self.file}:{self.line}"

    def option(self, name: str, default: str = "") -> str:
        """Return what follows ``NAME=`` among the arguments; ``default`` if none begins so."""
        return next((each.removeprefix(f"{name}=") for each in self.args if each.startswith(f"{name}=")), default)

    def all(self) -> Iterator[Directive]:
        """Yield this one, and all below it."""
        yield self
        for each in self.block or ():
            yield from each.all()

    def below(self, name: str) -> list[Directive]:
        """Return the directives of this name in the block."""
        return [each for each in self.block or () if each.name == name]


@attrs.frozen
class MigrationFinding:
    """What became of one directive."""

    directive: Directive
    outcome: _Outcome
    key: str = ""
    """The key of lb.toml, with NAME for names; empty if there is none."""
    note: str = ""
    """What differs, why it is not needed, or what comes nearest."""


@attrs.define
class Migration:
    """The findings so far. A gap is also a comment in the table where its directive stood."""

    words: Mapping[str, str]
    """The key for each word of the format, for directives whose finding does not say another."""
    draft: DraftTable
    _findings: dict[Directive, MigrationFinding] = attrs.field(factory=dict)
    _places: dict[Directive, DraftTable] = attrs.field(factory=dict)
    _parents: dict[Directive, Directive] = attrs.field(factory=dict)

    def enter(self, block: Directive) -> None:
        """Tell of a block, and of all that is in it."""
        for each in block.block or ():
            self._parents[each] = block
            self.enter(each)

    def place(self, block: Directive, table: DraftTable) -> None:
        """Say which table a block has become: comments about what is in it stand there. The first one counts."""
        self._places.setdefault(block, table)

    def translated(self, directive: Directive, key: str = "", note: str = "") -> None:
        """``note``: what differs; it becomes a comment, too. A gap that was found before stays one."""
        before = self._findings.get(directive)
        if before is None or before.outcome != "gap":
            known = before.note if before else ""
            key = key or self.words.get(directive.name, "")
            self._findings[directive] = MigrationFinding(directive, "translated", key, note or known)
        if note:
            self._comment(directive, f"differs: {directive} ({directive.where}): {note}")

    def not_needed(self, directive: Directive, why: str) -> None:
        """Say that what a directive does is done without a key, or has no meaning here."""
        self._findings.setdefault(directive, MigrationFinding(directive, "not needed", "", why))

    def all_not_needed(self, block: Directive, why: str) -> None:
        """Say of a block, and of all in it of which nothing was said before, that it is not needed."""
        for each in block.all():
            self.not_needed(each, why)

    def gap(self, directive: Directive, nearest: str) -> None:
        """Say that there is no counterpart, or not for all of it, and what comes nearest."""
        self._findings[directive] = MigrationFinding(directive, "gap", "", nearest)
        self._comment(directive, f"no counterpart: {directive} ({directive.where}): {nearest}")

    def knows(self, directive: Directive) -> bool:
        """Whether it is known what became of a directive."""
        return directive in self._findings

    def is_gap(self, directive: Directive) -> bool:
        """Whether a directive has no counterpart, as far as is known."""
        found = self._findings.get(directive)
        return found is not None and found.outcome == "gap"

    def findings(self) -> list[MigrationFinding]:
        """Return all findings in the order of the file. A line that is included twice has one, its worst."""
        order = {file: number for number, file in enumerate(dict.fromkeys(each.file for each in self._findings))}
        found: dict[tuple[int, int, str], MigrationFinding] = {}
        for each in self._findings.values():
            place = (order[each.directive.file], each.directive.line, str(each.directive))
            if place not in found or _WORSE.index(each.outcome) > _WORSE.index(found[place].outcome):
                found[place] = each
        return [found[place] for place in sorted(found)]

    def _comment(self, directive: Directive, text: str) -> None:
        block: Directive | None = directive
        while block is not None and block not in self._places:
            block = self._parents.get(block)
        (self._places[block] if block is not None else self.draft).note(text)
