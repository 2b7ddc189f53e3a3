"""The requests in ``lb top``: a line of all, and a table by listener with the slowest routes of each. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from lb.console.screen import amount, cells_in_columns, panel, single_line
from lb.console.text import Json, milliseconds
from lb.model.printable import printable

__all__ = ["requests_line", "requests_panel"]

STATUSES = {"2xx": "", "3xx": "", "4xx": "yellow", "5xx": "red", "none": "red"}
"""Classes of statuses that have a column, and the style of a number in it. ``none``: the client got no response."""
PERCENTILES = ("p50_ms", "p90_ms", "p99_ms")
FIGURE_WIDTH = 7
FRAME = 4
"""Columns of the frame: a line and a blank on either side."""


def requests_line(requests: Mapping[str, Json]) -> Text:
    """Draw the rates of all listeners together, and the worst 99th percentile."""
    latest = {name: each["last_minute"] for name, each in requests.items()}
    line = Text.assemble(
        " ", ("requests/s ", "dim"), (amount(sum(each["per_second"] for each in latest.values())), "bold")
    )
    for status, style in STATUSES.items():
        rate = sum(each["statuses"][status] for each in latest.values())
        if rate:
            line.append(f"   {status} ", "dim").append(amount(rate), style)
    slow, name = max(((each["p99_ms"] or 0.0, name) for name, each in latest.items()))
    if slow:
        line.append("   p99 ", "dim").append(milliseconds(slow), "bold")
        if len(latest) > 1:
            line.append(f" {printable(name)}", "dim")
    return single_line(line)


def requests_panel(requests: Mapping[str, Json], width: int, height: int) -> Panel:
    """Draw a line per listener, and below it one for each of its slowest routes: as many as fit."""
    figures = len(STATUSES) + len(PERCENTILES) + 1
    widths = [max(8, width - FRAME - figures * (FIGURE_WIDTH + 1)), *[FIGURE_WIDTH] * figures]
    heads = _line(["listener, slowest routes", "req/s", *STATUSES, "p50", "p90", "p99"], widths)
    heads.stylize("dim")
    lines = [line for name, each in requests.items() for line in _listener(name, each["last_minute"], widths)]
    shown = islice(lines, max(height - 3, 0))
    return panel(Group(single_line(heads), *map(single_line, shown)), "requests, the last minute")


def _listener(name: str, latest: Json, widths: Sequence[int]) -> list[Text]:
    rates = [amount(latest["statuses"][status]) if latest["statuses"][status] else "" for status in STATUSES]
    styles = ["bold", "", *STATUSES.values(), "", "", ""]
    lines = [_line([name, amount(latest["per_second"]), *rates, *_times(latest)], widths, styles)]
    for route in latest["slowest_routes"]:
        cells = [f"  {route['route'] or '(no route)'}", amount(route["per_second"]), *[""] * len(STATUSES)]
        lines.append(_line([*cells, *_times(route)], widths))
    return lines


def _times(durations: Json) -> list[str]:
    return [milliseconds(durations[percentile]) for percentile in PERCENTILES]


def _line(cells: Sequence[str], widths: Sequence[int], styles: Sequence[str] = ()) -> Text:
    """Join cells: the first is left-aligned, the others are figures."""
    first, *figures = cells
    texts = [printable(first), *(f"{figure:>{FIGURE_WIDTH}}" for figure in figures)]
    return cells_in_columns(
        [Text(text, style) for text, style in zip(texts, styles or [""] * len(texts), strict=True)], widths
    )
