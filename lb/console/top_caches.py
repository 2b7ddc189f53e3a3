"""The caches in ``lb top``: a line of each. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from lb.console.text import Json, percent, size
from lb.console.top_rows import figure_rows

__all__ = ["cache_lines"]


def cache_lines(caches: Mapping[str, Json]) -> list[Text]:
    """Draw the hit ratio of the last minute, the bytes of each tier and the fills under way of each cache."""
    return figure_rows("cache", [*caches.items()], _figures, "lb ctl cache")


def _figures(cache: Json) -> Mapping[str, str]:
    return {
        "hits ": percent(cache["hit_ratio"]["last_minute"]) or "none yet",
        "memory ": _tier(cache["memory"]),
        "disk ": _tier(cache["disk"]),
        "fills ": f"{cache['fills_under_way']:,}",
    }


def _tier(tier: Json | None) -> str:
    return "" if tier is None else f"{size(tier['bytes'])} of {size(tier['max_bytes'])}"
