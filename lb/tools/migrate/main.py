"""``lb migrate``: print the configuration of another program as lb.toml."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lb.config.load import ConfigError, parse
from lb.tools.migrate.files import configuration_text
from lb.tools.migrate.formats import FORMATS, Format, UnreadableError, format_of
from lb.tools.migrate.migration import MigrationFinding
from lb.tools.migrate.toml_text import toml_text

__all__ = ["explain_words", "migrate"]

COMPLETE, UNREADABLE, GAPS = 0, 2, 3
OF_THIS_MACHINE = ("cannot be read", "does not exist", "is not a directory", "cannot be made", "needs PyAV")
"""What complaints say about files that may be on another machine, and about extras that are not installed."""


def migrate(path: Path, name: str | None, *, explain: bool) -> int:
    """Print lb.toml, or what became of each directive if ``explain``, and a summary on stderr. Return the exit code.

    0: complete. 3: with gaps. 2: the file cannot be read, or it is not clear of which program it is.
    """
    try:
        ledger = _format(path, name).translate(path)
    except UnreadableError as error:
        print(f"lb: {error}", file=sys.stderr)
        return UNREADABLE
    findings = ledger.findings()
    text = toml_text(ledger.draft)
    sys.stdout.write(_table(map(_row, findings)) if explain else text)
    complaints = _complaints(text)
    print("\n".join(_summary(path, findings, complaints)), file=sys.stderr)
    incomplete = any(each.outcome == "gap" for each in findings) or not all(map(_is_about_this_machine, complaints))
    return GAPS if incomplete else COMPLETE


def explain_words(name: str | None) -> int:
    """Print which key each word of a format has become, of all formats if none is named. Return the exit code."""
    formats = [FORMATS[name]] if name else FORMATS.values()
    sys.stdout.write("\n".join(f"{each.name}\n{_table(sorted(each.words().items()))}" for each in formats))
    return COMPLETE


def _format(path: Path, name: str | None) -> Format:
    text = configuration_text(path)
    return FORMATS[name] if name else format_of(path, text)


def _complaints(text: str) -> Sequence[str]:
    """Return what ``lb check`` would say of the text."""
    try:
        parse(text, "lb.toml")
    except ConfigError as error:
        return error.errors
    return ()


def _is_about_this_machine(complaint: str) -> bool:
    return any(each in complaint for each in OF_THIS_MACHINE)


def _summary(path: Path, findings: Sequence[MigrationFinding], complaints: Iterable[str]) -> list[str]:
    count = Counter(each.outcome for each in findings)
    said = [f"{path}: {len(findings)} directives: {count['translated']} translated"]
    said[0] += f", {count['not needed']} not needed" if count["not needed"] else ""
    said[0] += f", {count['gap']} without a counterpart" if count["gap"] else ", complete"
    for each in findings:
        if each.outcome == "gap" or (each.outcome == "translated" and each.note):
            what = "no counterpart" if each.outcome == "gap" else "differs"
            said.append(f"{each.directive.where}: {each.directive}: {what}: {each.note}")
    return [*said, *(f"lb check: {each}" for each in complaints)]


def _row(finding: MigrationFinding) -> tuple[str, ...]:
    result = " ".join(filter(None, (finding.key, f"({finding.note})" if finding.note else "")))
    return finding.directive.where, str(finding.directive), finding.outcome, result


def _table(rows: Iterable[Sequence[str]]) -> str:
    found = [*rows]
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in found)
    return "".join(f"{line.rstrip()}\n" for line in lines)
