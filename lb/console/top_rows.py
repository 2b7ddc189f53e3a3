"""Lines of ``lb top`` for what there may be many of: caches, streams. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.text import Text

from lb.console.screen import single_line
from lb.console.text import Json
from lb.model.printable import printable

__all__ = ["MOST_ROWS", "figure_rows"]

MOST_ROWS = 3
"""Lines for one kind. The servers need the room."""


def figure_rows(
    kind: str, found: Sequence[tuple[str, Json]], figures: Callable[[Json], Mapping[str, str]], command: str
) -> list[Text]:
    """Draw a line for each of the first few: its name, and its figures, each after its label, but for empty ones.

    ``command`` shows the others.
    """
    lines = [_row(kind, name, figures(each)) for name, each in found[:MOST_ROWS]]
    if len(found) > MOST_ROWS:
        lines[-1].append(f"   and {len(found) - MOST_ROWS} more: {command}", "dim")
    return [*map(single_line, lines)]


def _row(kind: str, name: str, figures: Mapping[str, str]) -> Text:
    line = Text.assemble(" ", (f"{kind} ", "dim"), printable(name))
    for label, figure in figures.items():
        if figure:
            line.append(f"   {label}", "dim").append(printable(figure), "bold")
    return line
