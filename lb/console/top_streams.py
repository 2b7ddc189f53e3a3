"""The live streams in ``lb top``: a line of each that somebody publishes. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from lb.console.text import Json, bitrate
from lb.console.top_rows import figure_rows

__all__ = ["stream_rows"]


def stream_rows(streams: Mapping[str, Json]) -> list[Text]:
    """Draw the bitrate, the viewers and the publisher of each stream, those with most viewers first."""
    live = sorted((each for each in streams.items() if each[1]["live"]), key=lambda each: -each[1]["viewers"])
    return figure_rows("stream", live, _figures, "lb ctl streams")


def _figures(stream: Json) -> Mapping[str, str]:
    """A ladder has no publisher of its own."""
    return {
        "": bitrate(stream["bitrate"]),
        "viewers ": f"{stream['viewers']:,}",
        "from ": stream["client"] or "",
    }
