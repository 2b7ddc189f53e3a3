"""Cuts what one publisher sends into segments, and those into parts.

Video begins a segment at the first key frame at or after the target, by the time at which it is shown: by that of
decoding, streams with frames far out of order would get segments of several targets. Sound follows video, and goes by
time where there is none. Every frame is in exactly one segment, in the order in which it came; only those before the
first key frame are in none.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from lb.media.audio_cuts import AudioCuts
from lb.media.frames import AUDIO, VIDEO, Track
from lb.media.open_segment import CUT_EARLY, CutSettings, NoKeyFrameError, OpenSegment, Piece, PlacedFrame
from lb.media.timeline import SegmentNumbers

__all__ = ["CutSettings", "Cutter"]


@attrs.define
class _TimeCuts:
    """Cuts a track whose frames can all begin a segment: sound without video."""

    _numbers: SegmentNumbers
    _last: int
    _settings: CutSettings
    _open: OpenSegment

    def change(self, settings: CutSettings) -> None:
        self._settings, self._open.part = settings, settings.part

    def add(self, frame: PlacedFrame) -> list[Piece]:
        segment = self._open
        at = segment.milliseconds(frame.pts)
        if segment.number < 0:
            number = self._numbers.first(at, self._last)
            if number is not None:
                segment.begin(number, frame)
            return []
        length = segment.milliseconds(frame.pts - segment.start)
        number = None if length < self._settings.segment else self._numbers.following(at, segment.number, length)
        if number is None:
            return segment.add(frame)
        pieces = [segment.take(frame.dts, frame.pts)]
        segment.begin(number, frame)
        return pieces

    def finish(self) -> list[Piece]:
        return self._open.finish()


@attrs.define
class _KeyFrameCuts:
    """Cuts video, and tells the sound beside it where."""

    _numbers: SegmentNumbers
    _last: int
    _settings: CutSettings
    _open: OpenSegment
    _sound: AudioCuts | None
    _key: int | None = attrs.field(default=None, init=False)
    """When the last key frame was shown, in milliseconds; before the first, the time of the first frame."""

    def change(self, settings: CutSettings) -> None:
        self._settings, self._open.part = settings, settings.part

    def add(self, frame: PlacedFrame) -> list[Piece]:
        at = self._open.milliseconds(frame.pts)
        if frame.key:
            self._key = at
        self.require_key(at)
        if self._open.number < 0:
            return self._begin(frame, at)
        pieces = self._continue(frame, at)
        if self._sound is not None:
            pieces += self._sound.video_reached(frame.dts)
        return pieces

    def require_key(self, at: int) -> None:
        """Raise :class:`NoKeyFrameError` if ``at``, in milliseconds, is too long after the last key frame."""
        if self._key is None:
            self._key = at
        if at - self._key > self._settings.max_gop:
            raise NoKeyFrameError(f"no key frame for {(at - self._key) / 1_000:.1f} s")

    def finish(self) -> list[Piece]:
        return self._open.finish()

    def _begin(self, frame: PlacedFrame, at: int) -> list[Piece]:
        number = self._numbers.first(at, self._last) if frame.key else None
        if number is None:
            return []
        self._open.begin(number, frame)
        if self._sound is None:
            return []
        self._sound.begin(number, frame.pts, frame.dts)
        return self._sound.video_reached(frame.dts)

    def _continue(self, frame: PlacedFrame, at: int) -> list[Piece]:
        segment = self._open
        length = segment.milliseconds(frame.pts - segment.start)
        may_cut = frame.key and length >= self._settings.segment - CUT_EARLY
        number = self._numbers.following(at, segment.number, length) if may_cut else None
        if number is None:
            return segment.add(frame)
        pieces = [segment.take(frame.dts, frame.pts)]
        segment.begin(number, frame)
        if self._sound is not None:
            self._sound.cut(number, frame.pts)
        return pieces


@attrs.define
class Cutter:
    """Cuts one run of one configuration."""

    _video: _KeyFrameCuts | None
    _sound: AudioCuts | _TimeCuts | None
    _sound_timescale: int

    @classmethod
    def of(cls, timescales: Mapping[Track, int], settings: CutSettings, numbers: SegmentNumbers, last: int) -> Cutter:
        """Return one for tracks with these ticks a second. ``last`` is the stream's greatest number so far, or -1."""
        segments = {track: OpenSegment(track, timescale, settings.part) for track, timescale in timescales.items()}
        if VIDEO not in segments:
            return cls(None, _TimeCuts(numbers, last, settings, segments[AUDIO]), timescales[AUDIO])
        sound = AudioCuts(segments[AUDIO]) if AUDIO in segments else None
        return cls(_KeyFrameCuts(numbers, last, settings, segments[VIDEO], sound), sound, timescales.get(AUDIO, 1))

    def change(self, settings: CutSettings) -> None:
        """Cut by other lengths from now on."""
        for track in (self._video, self._sound):
            if track is not None:
                track.change(settings)

    def add(self, track: Track, frame: PlacedFrame) -> list[Piece]:
        """Take a frame of one of the tracks, later in decoding than its last. Return what is complete now.

        Raises :class:`NoKeyFrameError`: no more frames are taken then, only :meth:`finish` is of use.
        """
        if track == VIDEO:
            return [] if self._video is None else self._video.add(frame)
        if self._sound is None:
            return []
        if self._video is not None:
            self._video.require_key(frame.pts * 1_000 // self._sound_timescale)
        return self._sound.add(frame)

    def finish(self) -> list[Piece]:
        """Return what is left: no more frames come."""
        pieces = [] if self._video is None else self._video.finish()
        return pieces if self._sound is None else pieces + self._sound.finish()
