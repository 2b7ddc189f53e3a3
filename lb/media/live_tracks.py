"""The segments of a live stream that are kept, track by track, and the memory that all streams share."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import attrs

from lb.media.dash import DashSegment
from lb.media.frames import AUDIO, VIDEO, Track, TrackFormat
from lb.media.hls import HlsSegment
from lb.media.live_run import LiveFragment
from lb.media.responses import MediaFile

__all__ = ["LivePart", "LiveSegment", "LiveTrack", "SegmentArchive", "SegmentMemory", "SegmentOwner"]


TRACK_NAMES: Mapping[Track, str] = {VIDEO: "v0", AUDIO: "a0"}


class LivePart(NamedTuple):
    """A fragment of a segment."""

    data: bytes
    duration: int
    """In ticks."""
    independent: bool
    """Players can begin with it."""


@attrs.define(eq=False)
class LiveSegment:
    """A segment, complete or growing."""

    number: int
    """In its address."""
    sequence: int
    """In playlists: one more than the segment before it, also where numbers leave some out."""
    cfg: str
    format: TrackFormat
    start: int
    """When it begins to be shown, in ticks."""
    end: int = attrs.field(default=0, init=False)
    """When it has been shown. This and what follows from it is 0 while the segment grows."""
    seconds: float = attrs.field(default=0.0, init=False)
    end_seconds: float = attrs.field(default=0.0, init=False)
    bits_per_second: float = attrs.field(default=0.0, init=False)
    entry: DashSegment = attrs.field(default=DashSegment(0, 0, 0), init=False)
    """What manifests say of it."""
    start_seconds: float = attrs.field(init=False)
    parts: list[LivePart] = attrs.field(factory=list)
    """Empty: it is on disk only."""
    frames: int = 0
    size: int = 0
    file: MediaFile | None = None
    """Where it is on disk."""
    is_being_stored: bool = False
    line: HlsSegment | None = None
    """What playlists say of it, once that stays."""

    @start_seconds.default
    def _begins(self) -> float:
        return self.start / self.format.timescale

    def complete(self, end: int) -> None:
        """It ends here. Lists of thousands are made again and again, so what they say is reckoned once."""
        self.end = end
        self.end_seconds = end / self.format.timescale
        self.seconds = (end - self.start) / self.format.timescale
        self.bits_per_second = self.size * 8 / max(self.seconds, 0.001)
        self.entry = DashSegment(self.number, self.start, end - self.start)


@attrs.define(eq=False)
class LiveTrack:
    """The segments of one track, over all runs."""

    track: Track
    segments: list[LiveSegment] = attrs.field(factory=list, init=False)
    """Complete, oldest first."""
    growing: LiveSegment | None = attrs.field(default=None, init=False)
    inits: dict[str, bytes] = attrs.field(factory=dict, init=False)
    """cfg -> initialization segment, of the segments above."""
    longest: float = attrs.field(default=0.0, init=False)
    """Seconds of the longest segment."""
    _next_sequence: int = attrs.field(default=-1, init=False)
    """-1: that of the number."""

    @property
    def name(self) -> str:
        """In addresses."""
        return TRACK_NAMES[self.track]

    @property
    def all_segments(self) -> list[LiveSegment]:
        """The complete ones, and the one that grows."""
        return self.segments if self.growing is None else [*self.segments, self.growing]

    def restart(self) -> None:
        """Begin a list that has nothing in common with the last: it goes on at the next segment's number."""
        self._next_sequence = -1

    def add(self, fragment: LiveFragment) -> LiveSegment | None:
        """Add a fragment. Return the segment if it is complete now."""
        piece = fragment.piece
        segment = self.growing or self._begin(fragment)
        segment.parts.append(LivePart(fragment.data, piece.duration, piece.samples[0].key))
        segment.frames += len(piece.samples)
        segment.size += len(fragment.data)
        if piece.end is None:
            return None
        segment.complete(piece.end)
        self.growing = None
        self.segments.append(segment)
        self.longest = max(self.longest, segment.seconds)
        return segment

    def abandon(self) -> None:
        """Forget the segment that grows: nobody completes it."""
        if self.growing is not None:
            self._next_sequence = self.growing.sequence
            self.growing = None

    def forget(self, count: int) -> list[LiveSegment]:
        """Forget so many of the oldest segments. Return them."""
        gone, self.segments = self.segments[:count], self.segments[count:]
        if not self.segments or gone[0].cfg != self.segments[0].cfg:
            used = {segment.cfg for segment in self.all_segments}
            self.inits = {cfg: init for cfg, init in self.inits.items() if cfg in used}
        if any(segment.seconds >= self.longest for segment in gone):
            self.longest = max((segment.seconds for segment in self.segments), default=0.0)
        return gone

    def index_of(self, number: int) -> int:
        """Return the index of the first segment that has this number or a greater one."""
        return bisect_left(self.segments, number, key=_number)

    def _begin(self, fragment: LiveFragment) -> LiveSegment:
        piece = fragment.piece
        sequence = piece.number if self._next_sequence < 0 else self._next_sequence
        self._next_sequence = sequence + 1
        self.inits.setdefault(fragment.cfg, fragment.init)
        self.growing = LiveSegment(piece.number, sequence, fragment.cfg, fragment.format, piece.start)
        return self.growing


def _number(segment: LiveSegment) -> int:
    return segment.number


class SegmentArchive(Protocol):
    """Keeps segments on disk. Calls return at once, and what they ask for is done in their order."""

    def store(self, track: str, segment: LiveSegment) -> None:
        """Store a complete segment. It has its file as soon as that is done."""

    def remove(self, track: str, segments: Sequence[LiveSegment]) -> None:
        """Remove segments, also those that are being stored."""

    def resume(self) -> None:
        """Try again, after an error."""

    def close(self) -> None:
        """Remove all."""


class SegmentOwner(Protocol):
    """Whose segments are in memory."""

    def drop(self, number: int) -> None:
        """Give back the memory of all segments up to this number, also of tracks that were not named."""


@attrs.define
class SegmentMemory:
    """The bytes that complete segments of all streams may have together. Above, the oldest go, whosesoever they are."""

    limit: int
    used: int = attrs.field(default=0, init=False)
    _kept: OrderedDict[tuple[int, str, int], tuple[SegmentOwner, int]] = attrs.field(factory=OrderedDict, init=False)

    def add(self, owner: SegmentOwner, track: str, segment: LiveSegment) -> None:
        """Count a segment that has become complete. The newest one stays, however large it is."""
        self._kept[id(owner), track, segment.number] = (owner, segment.size)
        self.used += segment.size
        while self.used > self.limit and len(self._kept) > 1:
            (_, _, number), (oldest, _) = next(iter(self._kept.items()))
            oldest.drop(number)

    def release(self, owner: SegmentOwner, track: str, segments: Sequence[LiveSegment]) -> None:
        """Empty segments: the owner has them on disk, or not at all."""
        for segment in segments:
            if segment.parts:
                _, size = self._kept.pop((id(owner), track, segment.number))
                self.used -= size
                segment.parts = []
