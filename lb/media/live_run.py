"""What one publisher sends, from its timestamps in milliseconds to fragments."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import attrs

from lb.media.audio_samples import FrameTicks
from lb.media.cutter import CutSettings, Cutter
from lb.media.frames import VIDEO, CodecConfig, FragmentWriter, Track, TrackFormat, stream_cfg
from lb.media.open_segment import LARGEST_SEGMENT, NoKeyFrameError, Piece, PlacedFrame, memory_of
from lb.media.timeline import RunClock, SharedTimeline

__all__ = ["LiveFragment", "LiveRun", "OpenTrack"]

OpenTrack = Callable[[CodecConfig, bytes], FragmentWriter]
"""Makes the writer of a track from its configuration and a first (key) frame; raises MediaError."""
WAIT_FOR_TRACK = 1_000
"""Milliseconds of media for which a stream of one track waits for a second one."""
_LATEST_SHOWN = 10_000
"""Milliseconds from decoding to showing. A frame that says hours would take the stream's clock there, for good."""


class _TimedFrame(NamedTuple):
    """A frame whose decoding time is on the timeline."""

    track: Track
    at: int
    """When it is decoded, in milliseconds since 1970."""
    shift: int
    """How long after that it is shown, in milliseconds."""
    key: bool
    data: bytes


@attrs.frozen
class LiveFragment:
    """A piece of a track, as players get it."""

    cfg: str
    format: TrackFormat
    init: bytes
    """The initialization segment of the track."""
    piece: Piece
    data: bytes
    track_count: int
    """How many tracks the configuration has."""


@attrs.define
class _OpenedTrack:
    writer: FragmentWriter
    init: bytes
    ticks: FrameTicks
    fragments: int = 0


@attrs.define
class LiveRun:
    """From a publisher's coming to its going. Another configuration begins what players see as another stream."""

    _timeline: SharedTimeline
    _settings: CutSettings
    _open_track: OpenTrack
    last: int
    """The greatest number that the stream has used; -1: none."""
    end: int
    """Where the stream ends so far, in milliseconds since 1970."""
    cfg: str = attrs.field(default="", init=False)
    """Of the configuration in use; empty before the first."""
    jumps: list[int] = attrs.field(factory=list, init=False)
    """Jumps of the source's clock that nobody has taken note of, in milliseconds."""
    configs: dict[Track, CodecConfig] = attrs.field(factory=dict, init=False)
    _clock: RunClock = attrs.field(init=False)
    _tracks: dict[Track, _OpenedTrack] = attrs.field(factory=dict, init=False)
    """Empty while frames are held."""
    _cutter: Cutter | None = attrs.field(default=None, init=False)
    _held: list[_TimedFrame] = attrs.field(factory=list, init=False)
    _held_bytes: int = attrs.field(default=0, init=False)
    _firsts: dict[Track, bytes] = attrs.field(factory=dict, init=False)
    """Of each track, the first frame that is held and a player can begin with."""

    @_clock.default
    def _new_clock(self) -> RunClock:
        return RunClock(self._timeline)

    @property
    def track_count(self) -> int:
        """How many tracks are being cut; 0: they are not known yet."""
        return len(self._tracks)

    def change(self, settings: CutSettings) -> None:
        """Cut by other lengths from now on."""
        self._settings = settings
        if self._cutter is not None:
            self._cutter.change(settings)

    def configure(self, config: CodecConfig) -> list[LiveFragment]:
        """Take the configuration of a track. Return what a change of it completes."""
        if self.configs.get(config.track) == config:
            return []
        left = self._hold_again()
        self.configs[config.track] = config
        return left

    def frame(self, track: Track, dts: int, pts: int, now: int, *, key: bool, data: bytes) -> list[LiveFragment]:
        """Take a frame; times in milliseconds, ``now`` since 1970. Return what it completes.

        A frame without data, or of a track that was not configured, is left out. Raises MediaError.
        """
        if not data or track not in self.configs:
            return []
        at, jumped = self._clock.place(track, dts, now, self.end)
        if jumped:
            self.jumps.append(jumped)
        frame = _TimedFrame(track, at, min(max(pts - dts, 0), _LATEST_SHOWN), key, data)
        if track in self._tracks:
            return self._placed(frame)
        left = self._hold_again()
        self._hold(frame)
        firsts = self._first_frames(at)
        if not firsts:
            return left
        self._start(firsts)
        held, self._held, self._held_bytes, self._firsts = self._held, [], 0, {}
        return left + [fragment for each in held for fragment in self._placed(each)]

    def finish(self) -> list[LiveFragment]:
        """Return what is left when the publisher is gone. What follows comes after a discontinuity."""
        if self._cutter is None:
            return []
        cutter, self._cutter = self._cutter, None
        left = [self._written(piece) for piece in cutter.finish()]
        self._timeline.add_break()
        return left

    def _hold_again(self) -> list[LiveFragment]:
        """End what was begun, if anything: frames are held until the tracks are known. Return what was left."""
        left = self.finish()
        self._tracks.clear()
        return left

    def _hold(self, frame: _TimedFrame) -> None:
        self._held.append(frame)
        self._held_bytes += memory_of(frame.data)
        if frame.key or frame.track != VIDEO:
            self._firsts.setdefault(frame.track, frame.data)
        if frame.at - self._held[0].at > self._settings.max_gop or self._held_bytes > LARGEST_SEGMENT:
            raise NoKeyFrameError("no key frame to begin with")

    def _first_frames(self, now: int) -> dict[Track, bytes]:
        """Return the first frame of each track that a player can begin with. Empty: there is more to wait for."""
        firsts = self._firsts
        both = len(firsts) > 1
        waited = now - self._held[0].at > WAIT_FOR_TRACK
        only_sound_of_both = VIDEO in self.configs and VIDEO not in firsts
        return firsts if both or (waited and not only_sound_of_both) else {}

    def _start(self, firsts: dict[Track, bytes]) -> None:
        timescales: dict[Track, int] = {}
        for track, data in firsts.items():
            writer = self._open_track(self.configs[track], data)
            timescales[track] = writer.format.timescale
            self._tracks[track] = _OpenedTrack(writer, writer.init(), FrameTicks(writer.format, self.end))
        self.cfg = stream_cfg(self.configs[track] for track in firsts)
        self._cutter = Cutter.of(timescales, self._settings, self._timeline.numbers, self.last)

    def _placed(self, frame: _TimedFrame) -> list[LiveFragment]:
        """Give a frame to the cutter. Return what is complete."""
        opened = self._tracks.get(frame.track)
        if opened is None or self._cutter is None:
            return []
        ticks = opened.ticks.place(frame.at, frame.data)
        shown = ticks + opened.writer.format.timescale * frame.shift // 1_000
        pieces = self._cutter.add(frame.track, PlacedFrame(ticks, shown, frame.key, frame.data))
        return [self._written(piece) for piece in pieces]

    def _written(self, piece: Piece) -> LiveFragment:
        opened = self._tracks[piece.track]
        opened.fragments += 1
        data = opened.writer.fragment(piece.samples, opened.fragments)
        self.last = max(self.last, piece.number)
        if piece.end is not None:
            self.end = max(self.end, -(-piece.end * 1_000 // opened.writer.format.timescale))
        return LiveFragment(self.cfg, opened.writer.format, opened.init, piece, data, len(self._tracks))
