"""What the media processes have done: counters that go over the lives of a process, and their histograms. Pure."""

from __future__ import annotations

from bisect import bisect_left

import attrs

__all__ = ["PACKAGE_BOUNDS", "SEGMENT_BOUNDS", "MediaFigures", "MediaHistogram", "MediaTotals", "StreamFigures"]

SEGMENT_BOUNDS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 60.0)
"""Upper bounds of the lengths of segments in seconds: from the shortest ``segment`` to the longest."""
PACKAGE_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the times in seconds that a segment of a film takes to make: some milliseconds, 30 s the limit."""
MOST_LEFT = 1_000
"""Streams of processes that have ended whose counters are kept. A guess: more than one process can take."""


@attrs.define
class MediaHistogram:
    """How many values were at most each of ``bounds`` and above the one before, and their sum."""

    bounds: tuple[float, ...]
    sum: float = 0.0
    buckets: list[int] = attrs.field()

    @buckets.default
    def _empty(self) -> list[int]:
        return [0] * (len(self.bounds) + 1)

    def note(self, value: float) -> None:
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def plus(self, other: MediaHistogram) -> MediaHistogram:
        buckets = [ours + theirs for ours, theirs in zip(self.buckets, other.buckets, strict=True)]
        return MediaHistogram(self.bounds, self.sum + other.sum, buckets)


@attrs.define
class StreamFigures:
    """The counters of one stream."""

    bytes_in: int = 0
    """Of the frames of its publishers."""
    segments: dict[str, int] = attrs.field(factory=dict)
    """Complete ones, by track: ``v0``, ``a0``."""

    def plus(self, other: StreamFigures) -> StreamFigures:
        return StreamFigures(self.bytes_in + other.bytes_in, _sum(self.segments, other.segments))


@attrs.define
class MediaFigures:
    """The counters of a process. They never decrease, but those of a stream go with it."""

    streams: dict[str, StreamFigures] = attrs.field(factory=dict)
    """By ``app/name``: all that the process knows."""
    jumps: int = 0
    refused: dict[str, int] = attrs.field(factory=dict)
    """Refused publishers, by reason."""
    segment_lengths: MediaHistogram = attrs.field(factory=lambda: MediaHistogram(SEGMENT_BOUNDS))
    """Seconds of the complete segments of all tracks."""
    packaging: MediaHistogram = attrs.field(factory=lambda: MediaHistogram(PACKAGE_BOUNDS))
    """Seconds that segments of films took to make."""

    def segment_done(self, stream: str, track: str, seconds: float) -> None:
        """Count a segment."""
        segments = self.streams.setdefault(stream, StreamFigures()).segments
        segments[track] = segments.get(track, 0) + 1
        self.segment_lengths.note(seconds)

    def plus(self, other: MediaFigures) -> MediaFigures:
        streams = dict(self.streams)
        for name, figures in other.streams.items():
            streams[name] = streams[name].plus(figures) if name in streams else figures
        return MediaFigures(
            streams,
            self.jumps + other.jumps,
            _sum(self.refused, other.refused),
            self.segment_lengths.plus(other.segment_lengths),
            self.packaging.plus(other.packaging),
        )


@attrs.define
class MediaTotals:
    """The counters of a process and of those before it: what is counted between the last look and an end is lost."""

    _left: MediaFigures = attrs.field(factory=MediaFigures)
    """Of processes that have ended."""
    _last: MediaFigures = attrs.field(factory=MediaFigures)

    def look(self, figures: MediaFigures) -> None:
        """The process tells its counters. A stream that it has forgotten has none any more."""
        for stream in self._last.streams.keys() - figures.streams.keys():
            self._left.streams.pop(stream, None)
        self._last = figures

    def process_ended(self) -> None:
        """Another process begins to count at 0."""
        self._left, self._last = self.total, MediaFigures()
        for stream in [*self._left.streams][:-MOST_LEFT]:
            del self._left.streams[stream]

    @property
    def total(self) -> MediaFigures:
        return self._left.plus(self._last)


def _sum(ours: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    return {key: ours.get(key, 0) + theirs.get(key, 0) for key in (*ours, *theirs)}
