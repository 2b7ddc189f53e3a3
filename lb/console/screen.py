"""The look of live views and tables: colours, frames, curves and the key line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.align import Align
from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

__all__ = ["LEVEL_STYLES", "STATE_STYLES", "amount", "cells_in_columns", "curve", "key_line", "panel", "single_line"]

STATE_STYLES = {"up": "green", "down": "red", "ejected": "red", "draining": "yellow", "checking": "yellow"}
"""Style per server state. The state is always shown as text as well."""
LEVEL_STYLES = {"warning": "yellow", "error": "red"}
"""Style per level of an event."""
BARS = "▁▂▃▄▅▆▇█"


def panel(content: RenderableType, title: str) -> Panel:
    """Return a dim frame with a title."""
    return Panel(content, title=Text(title, "dim"), title_align="left", box=box.ROUNDED, border_style="dim")


def curve(amounts: Sequence[float]) -> str:
    """Return one bar per number, scaled to the largest."""
    most = max(amounts, default=0) or 1
    return "".join(BARS[int(amount * (len(BARS) - 1) / most)] for amount in amounts)


def key_line(meanings: Mapping[str, str]) -> Align:
    """Return a line that shows the meaning of each key."""
    text = Text("  ", no_wrap=True).join(
        Text.assemble((f" {key} ", "reverse"), f" {meaning}") for key, meaning in meanings.items()
    )
    return Align.center(text)


def cells_in_columns(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    """Join cells, each cut or padded to its width, with a blank between two."""
    line = Text()
    for number, (cell, wide) in enumerate(zip(cells, widths, strict=True)):
        cell.truncate(wide, overflow="ellipsis", pad=True)
        line.append(" " if number else "").append_text(cell)
    return line


def single_line(text: Text) -> Text:
    """Let a text be cut at the edge instead of wrapped."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def amount(number: float) -> str:
    """Format a rate: ``0.2``, ``1,234``."""
    return f"{number:,.1f}" if number < 10 else f"{number:,.0f}"
