"""A live stream: what its publishers bring, kept as long as viewers may ask for it. Time is given, no clock is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import attrs

from lb.media.audio_cuts import BEFORE_VIDEO
from lb.media.cutter import CutSettings
from lb.media.frames import AUDIO, VIDEO, CodecConfig, MediaError, Track, codec_string
from lb.media.live_run import LiveFragment, LiveRun, OpenTrack
from lb.media.live_tracks import LiveSegment, LiveTrack, SegmentArchive, SegmentMemory
from lb.media.timeline import SegmentNumbers, SharedTimeline
from lb.model import LiveSpec

__all__ = ["LivePeriod", "LiveStream", "new_timeline"]

MOST_PERIODS = 64
_NEVER = -1e18


def new_timeline(settings: LiveSpec, after: int = -1, breaks: int = 0) -> SharedTimeline:
    """Return the timeline of a stream, or of all members of a ladder.

    ``after``: numbers up to this were used by a process before this one, which had so many ``breaks``.
    """
    return SharedTimeline(SegmentNumbers(_milliseconds(settings.segment), after), breaks_gone=breaks)


@attrs.frozen
class LivePeriod:
    """A stretch of one configuration."""

    cfg: str
    number: int
    """Of its first segment."""
    start: float
    """In seconds since 1970, not after its first segment; of a stream's first, 0."""


@attrs.define(eq=False)
class LiveStream:
    """One stream over all its publishers. Times are in seconds since 1970, by a clock that is never set."""

    name: str
    settings: LiveSpec
    timeline: SharedTimeline
    _memory: SegmentMemory
    _open_track: OpenTrack
    changed: Callable[[], None] = attrs.field(default=lambda: None)
    """Called when there is something new, for those whose requests are held."""
    record: Callable[[LiveFragment], None] = attrs.field(default=lambda _: None)
    """Called with each fragment, for recordings."""
    segment_done: Callable[[str, LiveSegment], None] = attrs.field(default=lambda _track, _segment: None)
    """Called with the name of its track when a segment is complete."""
    archive: SegmentArchive | None = None
    """Where segments go that are older than those in memory; None: they are forgotten."""
    tracks: dict[Track, LiveTrack] = attrs.field(factory=dict, init=False)
    first_listed: int = attrs.field(default=0, init=False)
    """Segments with lower numbers are no longer listed, though they can be had."""
    run_number: int = attrs.field(default=-1, init=False)
    """The number of the publisher's first segment; -1: none has begun."""
    changed_at: float = attrs.field(default=0.0, init=False)
    """When its last segment was complete, or its publisher left."""
    _run: LiveRun | None = attrs.field(default=None, init=False)
    _away_since: float = attrs.field(default=_NEVER, init=False)
    _last: int = attrs.field(default=-1, init=False)
    _end: int = attrs.field(default=0, init=False)
    cfg: str = attrs.field(default="", init=False)
    """Of the newest segment."""
    periods: list[LivePeriod] = attrs.field(factory=list, init=False)

    @property
    def is_live(self) -> bool:
        return self._run is not None

    @property
    def expected_tracks(self) -> int:
        """How many tracks the publisher has; 0: there is none, or it is not known yet."""
        return 0 if self._run is None else self._run.track_count

    @property
    def codecs(self) -> tuple[str, ...]:
        """The publisher's codecs (RFC 6381)."""
        configs = {} if self._run is None else self._run.configs
        return tuple(codec_string(configs[track]) for track in (VIDEO, AUDIO) if track in configs)

    def change(self, settings: LiveSpec, now: float) -> None:
        """Apply other settings, from the next cut on."""
        self.settings = settings
        self.timeline.numbers.change(_milliseconds(settings.segment), _milliseconds(now))
        if self._run is not None:
            self._run.change(_cuts(settings))

    def has_ended(self, now: float) -> bool:
        """Return whether the publisher has been away for so long that the stream is over."""
        return self._run is None and now - self._away_since >= self.settings.linger

    def published(self, now: float) -> None:
        """A publisher comes. The one before it, if any, has been :meth:`unpublished`."""
        if self.has_ended(now):
            self._restart(self._last + 1)
        if self.archive is not None:
            self.archive.resume()
        self.timeline.running += 1
        self.run_number = -1
        self._run = LiveRun(self.timeline, _cuts(self.settings), self._open_track, self._last, self._end)

    def configure(self, config: CodecConfig, now: float) -> None:
        """The publisher tells a track's configuration, before its frames. Raises :class:`MediaError`."""
        run = self._running()
        codec_string(config)
        self._store(run.configure(config), now)

    def frame(self, track: Track, dts: int, pts: int, now: float, *, key: bool, data: bytes) -> tuple[float, ...]:
        """The publisher sends a frame, with its own times in milliseconds.

        Return by how many seconds its clock jumped; mostly, it did not. Raises :class:`MediaError` if the stream cannot
        go on: the caller closes the publisher and calls :meth:`unpublished`.
        """
        run = self._running()
        fragments = run.frame(track, dts, pts, _milliseconds(now), key=key, data=data)
        if fragments:
            self._store(fragments, now)
        if not run.jumps:
            return ()
        jumps, run.jumps = run.jumps, []
        return tuple(jump / 1_000 for jump in jumps)

    def unpublished(self, now: float) -> None:
        """The publisher is gone. What it had sent becomes a last, short segment."""
        run = self._running()
        try:
            left = run.finish()
        except MediaError:  # what could not be written when it came, cannot be written now
            left = []
        self._store(left, now)
        for track in self.tracks.values():
            track.abandon()
        self._run = None
        self.timeline.running -= 1
        self._last, self._end = run.last, run.end
        self._away_since = self.changed_at = now
        self.changed()

    def listed(self, track: LiveTrack) -> list[LiveSegment]:
        """Return the complete segments that lists name."""
        segments = track.segments
        first = max(0, len(segments) - self.settings.window)
        if self.archive is not None and segments:
            first = min(first, bisect_right(segments, segments[-1].end_seconds - self.settings.dvr, key=_end))
        return segments[max(first, track.index_of(self.first_listed)) :]

    def drop(self, number: int) -> None:
        """Give back the memory of segments up to this number: a :class:`SegmentOwner`."""
        for track in self.tracks.values():
            self._release(track, track.index_of(number + 1), wait=False)

    def keep_in(self, archive: SegmentArchive | None) -> None:
        """Keep older segments in this archive from now on. What another one has is forgotten."""
        if archive is not self.archive:
            for track in self.tracks.values():
                in_memory = sum(1 for segment in track.segments if segment.parts)
                self._forget(track, len(track.segments) - in_memory)
            self._leave_archive()
            self.archive = archive

    def close(self) -> None:
        """Give all memory back, and remove what is on disk. The stream is used no more."""
        for track in self.tracks.values():
            self._forget(track, len(track.segments))
        self._leave_archive()

    def _leave_archive(self) -> None:
        if self.archive is not None:
            self.archive.close()
            for track in self.tracks.values():
                for segment in track.segments:
                    segment.file = None
            self.archive = None

    def _running(self) -> LiveRun:
        if self._run is None:
            raise RuntimeError(f"{self.name} has no publisher")
        return self._run

    def _store(self, fragments: list[LiveFragment], now: float) -> None:
        for fragment in fragments:
            if self.run_number < 0:
                self._begin_run(fragment)
            if fragment.cfg != self.cfg:
                self._begin_period(fragment)
            track = self.tracks.setdefault(fragment.piece.track, LiveTrack(fragment.piece.track))
            segment = track.add(fragment)
            self.record(fragment)
            if segment is not None:
                self.changed_at = now
                if self.archive is not None:
                    self.archive.store(track.name, segment)
                self._memory.add(self, track.name, segment)
                self.segment_done(track.name, segment)
                self._trim(track)
        if fragments:
            self.changed()

    def _begin_run(self, fragment: LiveFragment) -> None:
        """Note where the run begins. If all that is listed is older than the window, begin another list.

        Players have long seen it, and sequence numbers then catch up with those that another node may have used.
        """
        self.run_number = fragment.piece.number
        away = _start(fragment) - self._end / 1_000
        if away >= self.settings.window_seconds and fragment.cfg == self.cfg:
            self._restart(fragment.piece.number)

    def _restart(self, number: int) -> None:
        """Begin another list, with the segment of this number or one after it."""
        self.first_listed = number
        for track in self.tracks.values():
            track.restart()

    def _begin_period(self, fragment: LiveFragment) -> None:
        """Note another configuration. Sound may begin before video, of which the fragment may be."""
        start = max(self._period_end(), _start(fragment) - BEFORE_VIDEO / 1_000) if self.periods else 0.0
        self.cfg = fragment.cfg
        self.periods.append(LivePeriod(fragment.cfg, fragment.piece.number, round(start, 3)))
        del self.periods[:-MOST_PERIODS]

    def _period_end(self) -> float:
        ends = [track.segments[-1].end_seconds for track in self.tracks.values() if track.segments]
        return max(ends, default=0.0)

    def _trim(self, track: LiveTrack) -> None:
        """Forget what is too old, and give back the memory of what is on disk."""
        settings, segments = self.settings, track.segments
        keep = max(settings.keep, settings.window)
        if self.archive is None or not segments:
            self._forget(track, len(segments) - keep)
            return
        oldest = segments[-1].end_seconds - settings.dvr - (keep - settings.window) * settings.segment
        self._forget(track, min(len(segments) - keep, bisect_right(segments, oldest, key=_end)))
        self._release(track, len(track.segments) - keep, wait=True)

    def _release(self, track: LiveTrack, count: int, *, wait: bool) -> None:
        """Give back the memory of the oldest segments. Those that are not on disk are forgotten, and all before them.

        ``wait``: not those that are being stored.
        """
        for index in range(count - 1, -1, -1):
            segment = track.segments[index]
            if not segment.parts:
                return
            if segment.file is not None:
                self._memory.release(self, track.name, (segment,))
            elif not (wait and segment.is_being_stored):
                self._forget(track, index + 1)
                return

    def _forget(self, track: LiveTrack, count: int) -> None:
        if count > 0:
            gone = track.forget(count)
            self._memory.release(self, track.name, gone)
            if self.archive is not None:
                self.archive.remove(track.name, gone)


def _end(segment: LiveSegment) -> float:
    return segment.end_seconds


def _start(fragment: LiveFragment) -> float:
    """Return when its segment begins, in seconds since 1970."""
    return fragment.piece.start / fragment.format.timescale


def _cuts(settings: LiveSpec) -> CutSettings:
    return CutSettings(_milliseconds(settings.segment), _milliseconds(settings.part), _milliseconds(settings.max_gop))


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1_000)
