"""Cuts sound that accompanies video: at the first frame at or after the time at which video's key frame is shown."""

from __future__ import annotations

from collections import deque

import attrs

from lb.media.frames import VIDEO_TIMESCALE
from lb.media.open_segment import (
    LARGEST_SEGMENT,
    CutSettings,
    NoKeyFrameError,
    OpenSegment,
    Piece,
    PlacedFrame,
    memory_of,
)

__all__ = ["AudioCuts"]

BEFORE_VIDEO = 500
"""Milliseconds by which the sound of a run may begin before its first key frame is shown."""
AUDIO_WAITS = 5_000
"""Milliseconds of sound that are kept until the first key frame."""
CUTS_BEHIND = 2
"""At as many cuts that sound has not reached, it has stopped, and its segment ends."""
MOST_CUTS = 64


@attrs.define
class AudioCuts:
    """Sound waits until it is known to which segment it belongs: until video has been decoded up to its time."""

    _open: OpenSegment
    _waiting: deque[PlacedFrame] = attrs.field(factory=deque, init=False)
    _waiting_bytes: int = attrs.field(default=0, init=False)
    _cuts: deque[tuple[int, int]] = attrs.field(factory=lambda: deque(maxlen=MOST_CUTS), init=False)
    """That sound has not reached: its tick, the number of the segment that begins there."""
    _horizon: int = attrs.field(default=-1, init=False)
    """Video will cut at no tick before; -1: it has not begun."""

    def change(self, settings: CutSettings) -> None:
        self._open.part = settings.part

    def begin(self, number: int, pts: int, dts: int) -> None:
        """Video begins its first segment, at times of video. Sound of it may begin earlier."""
        earliest = self._ticks(pts) - BEFORE_VIDEO * self._open.timescale // 1_000
        while self._waiting and self._waiting[0].pts < earliest:
            self._next_waiting()
        self._cuts.append((0, number))
        self._horizon = self._ticks(dts)

    def cut(self, number: int, pts: int) -> None:
        """Video begins a segment."""
        self._cuts.append((self._ticks(pts), number))

    def video_reached(self, dts: int) -> list[Piece]:
        """Video has been decoded up to this time of video. Return what of sound is complete by that."""
        self._horizon = self._ticks(dts)
        pieces = self._settle()
        if len(self._cuts) >= CUTS_BEHIND and self._open.frames:
            pieces += self._open.finish()
        return pieces

    def add(self, frame: PlacedFrame) -> list[Piece]:
        """Take a frame. Return what is complete now. Raises :class:`NoKeyFrameError` if too much waits for video."""
        self._waiting.append(frame)
        self._waiting_bytes += memory_of(frame.data)
        if self._waiting_bytes > LARGEST_SEGMENT:
            raise NoKeyFrameError(f"sound of {self._waiting_bytes >> 20} MiB, and no video beside it")
        if self._horizon >= 0:
            return self._settle()
        oldest = frame.pts - AUDIO_WAITS * self._open.timescale // 1_000
        while self._waiting[0].pts < oldest:
            self._next_waiting()
        return []

    def finish(self) -> list[Piece]:
        """Return what is left: neither sound nor video follows."""
        if self._horizon < 0:
            return []
        if self._waiting:
            self._horizon = self._waiting[-1].pts
        return self._settle() + self._open.finish()

    def _next_waiting(self) -> PlacedFrame:
        frame = self._waiting.popleft()
        self._waiting_bytes -= memory_of(frame.data)
        return frame

    def _ticks(self, video_ticks: int) -> int:
        """Return a time of video in ticks of sound, rounded up."""
        return -(-video_ticks * self._open.timescale // VIDEO_TIMESCALE)

    def _settle(self) -> list[Piece]:
        """Move sound that waits to its segments."""
        pieces: list[Piece] = []
        waiting, cuts, segment = self._waiting, self._cuts, self._open
        while waiting:
            frame = waiting[0]
            if segment.number >= 0 and cuts and frame.pts >= cuts[0][0]:
                pieces.append(segment.take(frame.dts, frame.pts))
            if frame.pts > self._horizon and not (cuts and cuts[-1][0] > frame.pts):
                break
            self._next_waiting()
            if segment.number < 0:
                segment.begin(self._number_of(frame), frame)
            else:
                pieces += segment.add(frame)
        return pieces

    def _number_of(self, frame: PlacedFrame) -> int:
        """Return the number of the segment that this frame begins: that of the last cut before it, else of the next."""
        _, number = self._cuts.popleft()
        while self._cuts and self._cuts[0][0] <= frame.pts:
            _, number = self._cuts.popleft()
        return number
