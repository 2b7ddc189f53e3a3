"""The caches in ``lb top``: a line of each. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from lb.console.screen import single_line
from lb.console.text import Json, percent, size
from lb.model.printable import printable

__all__ = ["cache_lines"]

MOST_CACHES = 3
"""Caches that get a line. The servers need the room."""


def cache_lines(caches: Mapping[str, Json]) -> list[Text]:
    """Draw the hit ratio of the last minute, the bytes of each tier and the fills under way of each cache."""
    lines = [_line(name, each) for name, each in [*caches.items()][:MOST_CACHES]]
    if len(caches) > MOST_CACHES:
        lines[-1].append(f"   and {len(caches) - MOST_CACHES} more: lb ctl cache", "dim")
    return [*map(single_line, lines)]


def _line(name: str, cache: Json) -> Text:
    figures = {
        "hits": percent(cache["hit_ratio"]["last_minute"]) or "none yet",
        "memory": _tier(cache["memory"]),
        "disk": _tier(cache["disk"]),
        "fills": f"{cache['fills_under_way']:,}",
    }
    line = Text.assemble(" ", ("cache ", "dim"), printable(name))
    for label, figure in figures.items():
        if figure:
            line.append(f"   {label} ", "dim").append(figure, "bold")
    return line


def _tier(tier: Json | None) -> str:
    return "" if tier is None else f"{size(tier['bytes'])} of {size(tier['max_bytes'])}"
