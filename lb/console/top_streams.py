"""The live streams in ``lb top``: a line of each that somebody publishes. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from lb.console.screen import single_line
from lb.console.text import Json, bitrate
from lb.model.printable import printable

__all__ = ["stream_rows"]

MOST_ROWS = 3
"""Streams that get a line. The servers need the room."""


def stream_rows(streams: Mapping[str, Json]) -> list[Text]:
    """Draw the bitrate, the viewers and the publisher of each stream, those with most viewers first."""
    live = sorted((each for each in streams.items() if each[1]["live"]), key=lambda each: -each[1]["viewers"])
    lines = [_line(name, each) for name, each in live[:MOST_ROWS]]
    if len(live) > MOST_ROWS:
        lines[-1].append(f"   and {len(live) - MOST_ROWS} more: lb ctl streams", "dim")
    return [*map(single_line, lines)]


def _line(name: str, stream: Json) -> Text:
    line = Text.assemble(" ", ("stream ", "dim"), printable(name))
    figures = {"": bitrate(stream["bitrate"]), "viewers ": f"{stream['viewers']:,}", "from ": stream["client"]}
    for label, figure in figures.items():
        if figure:
            line.append(f"   {label}", "dim").append(printable(figure), "bold")
    return line
