"""What live views and tables look like: colours, frames, curves and the line of keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.align import Align
from rich.console import RenderableType
from rich.panel import Panel
from rich.text import Text

__all__ = ["LEVEL_STYLES", "STATE_STYLES", "curve", "key_line", "panel"]

STATE_STYLES = {"up": "green", "down": "red", "ejected": "red", "draining": "yellow", "checking": "yellow"}
"""Of a server. Its state always stands there in words as well."""
LEVEL_STYLES = {"warning": "yellow", "error": "red"}
"""Of an event."""
BARS = "▁▂▃▄▅▆▇█"


def panel(content: RenderableType, title: str) -> Panel:
    """A frame that does not call attention to itself."""
    return Panel(content, title=Text(title, "dim"), title_align="left", box=box.ROUNDED, border_style="dim")


def curve(amounts: Sequence[float]) -> str:
    """One bar a number, as a share of the greatest."""
    most = max(amounts, default=0) or 1
    return "".join(BARS[int(amount * (len(BARS) - 1) / most)] for amount in amounts)


def key_line(words: Mapping[str, str]) -> Align:
    """What each key does."""
    text = Text("  ", no_wrap=True).join(
        Text.assemble((f" {key} ", "reverse"), f" {meaning}") for key, meaning in words.items()
    )
    return Align.center(text)
