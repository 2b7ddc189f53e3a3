"""The segment of one track that still grows, and the pieces that leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs

from lb.media.frames import MediaError, MediaSample, Track

__all__ = ["CUT_EARLY", "CutSettings", "NoKeyFrameError", "OpenSegment", "Piece", "PlacedFrame", "memory_of"]

CUT_EARLY = 20
"""Milliseconds that a segment or part may be shorter than its target, as timestamps are rounded."""
LARGEST_SEGMENT = 64 << 20
"""Bytes in memory of one segment of one track, and of frames that wait for others."""
_FRAME_BYTES = 200
"""Memory of a frame beside its data."""


@attrs.frozen
class CutSettings:
    """Lengths in milliseconds."""

    segment: int
    part: int = 0
    """0: segments have no parts."""
    max_gop: int = 20_000
    """So long video may go on without a key frame."""


class NoKeyFrameError(MediaError):
    """A track has gone on too long without a frame that could begin a segment."""


def memory_of(data: bytes) -> int:
    """Return about how much memory a frame with this data needs."""
    return _FRAME_BYTES + len(data)


class PlacedFrame(NamedTuple):
    """A frame on the stream's timeline, in ticks of its track."""

    dts: int
    pts: int
    key: bool
    data: bytes


@attrs.frozen
class Piece:
    """Frames that become one fragment: a segment, or a part of one."""

    track: Track
    number: int
    """The segment's."""
    start: int
    """When its segment begins to be shown, in ticks."""
    samples: Sequence[MediaSample]
    end: int | None
    """When the segment that it ends has been shown, in ticks; None: more of the segment follows."""

    @property
    def duration(self) -> int:
        """How long its decoding takes, in ticks."""
        last = self.samples[-1]
        return last.dts + last.duration - self.samples[0].dts


@attrs.define
class OpenSegment:
    """The segment of a track that is not complete, and the frames of it that have not left as parts."""

    track: Track
    timescale: int
    part: int
    """Milliseconds of a part; 0: there are none."""
    number: int = attrs.field(default=-1, init=False)
    """-1: none is open."""
    start: int = attrs.field(default=0, init=False)
    """When it begins to be shown, in ticks."""
    frames: list[PlacedFrame] = attrs.field(factory=list, init=False)
    _size: int = attrs.field(default=0, init=False)
    _step: int = attrs.field(init=False)
    """How long the last frame before the newest was, in ticks."""

    @_step.default
    def _usual_step(self) -> int:
        return self.timescale // 30

    def milliseconds(self, ticks: int) -> int:
        return ticks * 1_000 // self.timescale

    def begin(self, number: int, frame: PlacedFrame) -> None:
        """Begin a segment with this frame."""
        self.number = number
        self.start = frame.pts
        self._size = memory_of(frame.data)
        self.frames.append(frame)

    def add(self, frame: PlacedFrame) -> list[Piece]:
        """Add a frame that begins no segment. Return the part that ends before it, if one does.

        Raises :class:`NoKeyFrameError` if the segment becomes too large.
        """
        if self._size > LARGEST_SEGMENT:
            raise NoKeyFrameError(f"a segment of {self._size >> 20} MiB, and no key frame to begin the next")
        first, last = self.frames[0], self.frames[-1]
        full = self.part > 0 and self.milliseconds(frame.dts - first.dts) >= self.part - CUT_EARLY
        pieces = [self.take(frame.dts, None)] if full else []
        self._step = frame.dts - last.dts
        self._size += memory_of(frame.data)
        self.frames.append(frame)
        return pieces

    def take(self, end_dts: int, end: int | None) -> Piece:
        """Take the frames, the last of which lasts until ``end_dts``. With an ``end``, the segment ends there."""
        frames, self.frames = self.frames, []
        self._step = end_dts - frames[-1].dts
        ends = [*(frame.dts for frame in frames[1:]), end_dts]
        samples = [
            MediaSample(frame.dts, frame.pts, until - frame.dts, frame.key, frame.data)
            for frame, until in zip(frames, ends, strict=True)
        ]
        piece = Piece(self.track, self.number, self.start, samples, end)
        if end is not None:
            self.number = -1
        return piece

    def finish(self) -> list[Piece]:
        """End the segment, if one is open. Its last frame is as long as the one before it."""
        if self.number < 0:
            return []
        last_shown = max(frame.pts for frame in self.frames)
        return [self.take(self.frames[-1].dts + self._step, last_shown + self._step)]
