"""The DASH manifest of a live stream, or of a ladder of them."""

from __future__ import annotations

import math
import zlib
from bisect import bisect_left
from collections.abc import Sequence

import attrs

from lb.media.dash import DashManifest, DashPeriod, DashRepresentation
from lb.media.frames import AUDIO, VIDEO, Track, codec_string
from lb.media.live_playlists import Member, frame_rate, peak_rate, target_duration
from lb.media.live_stream import LiveStream
from lb.media.live_tracks import LiveSegment, LiveTrack

__all__ = ["live_manifest"]

GAP = 0.5
"""Seconds without media that are a gap: a publisher was away."""
BEHIND = 3
"""Target durations that players stay behind the end, at most."""
_CLOCK = "../time"


@attrs.frozen
class _Stretch:
    """Numbers in which no member changes its configuration."""

    name: str
    start: float
    first: int
    end: float
    """The number after the last, or infinity."""


def live_manifest(members: Sequence[Member], sound: Member | None, now: float) -> str:
    """Return the manifest of members, at least one, all known. Their sound is that of ``sound``."""
    tracks = [_ListedTrack(member, VIDEO) for member in members if VIDEO in member.stream.tracks]
    tracks += [_ListedTrack(sound, AUDIO)] if sound is not None else []
    stretches = _stretches([track.member for track in tracks])
    periods = [DashPeriod(each.name, each.start, _representations(each, tracks)) for each in stretches]
    settings = members[0].stream.settings
    over = all(member.stream.has_ended(now) for member in members)
    return DashManifest(
        [period for period in periods if period.representations],
        target=settings.segment,
        longest=max(settings.segment, *(max(track.lengths, default=0.0) for track in tracks)),
        end=max(track.segments[-1].end_seconds for track in tracks if track.segments),
        published=None if over else max(member.stream.changed_at for member in members),
        window=max(settings.window_seconds, *(sum(track.lengths) for track in tracks)),
        clock="" if over else _CLOCK,
    ).text()


@attrs.frozen
class _ListedTrack:
    """A track of a member, and its segments that the manifest lists, oldest first."""

    member: Member
    track: Track
    segments: Sequence[LiveSegment] = attrs.field(init=False)

    @segments.default
    def _listed(self) -> Sequence[LiveSegment]:
        stream = self.member.stream
        earliest = _earliest(stream, stream.tracks.get(VIDEO) or stream.tracks[self.track])
        listed = stream.listed(stream.tracks[self.track])
        return listed[bisect_left(listed, earliest, key=_start_seconds) :]

    @property
    def lengths(self) -> list[float]:
        """Seconds of each."""
        return [segment.seconds for segment in self.segments]


def _earliest(stream: LiveStream, main: LiveTrack) -> float:
    """Return when the first segment may begin that the manifest lists.

    dash.js asks for no segment behind a gap. It goes on where the list begins as soon as it stands before that: so what
    is before a gap leaves the list when players at their usual distance from the end have come to it.
    """
    listed = stream.listed(main)
    behind = BEHIND * target_duration(stream)
    for number in reversed(stream.timeline.breaks_behind(listed[0].number if listed else 0)):
        index = bisect_left(listed, number, key=_number)
        if not 0 < index < len(listed):
            continue
        before, after = listed[index - 1], listed[index]
        gap = after.start_seconds - before.end_seconds
        if gap > GAP and before.cfg == after.cfg and listed[-1].end_seconds - before.end_seconds > behind:
            return after.start_seconds - GAP
    return -math.inf


def _number(segment: LiveSegment) -> int:
    return segment.number


def _start_seconds(segment: LiveSegment) -> float:
    return segment.start_seconds


def _stretches(members: Sequence[Member]) -> list[_Stretch]:
    """Return what becomes Periods: each begins where some member changes its configuration."""
    histories = [member.stream.periods for member in dict.fromkeys(members)]
    later = {period.number: period.start for history in histories for period in history[1:]}
    starts = {0: min(history[0].start for history in histories), **dict(sorted(later.items()))}
    numbers = [*starts, math.inf]
    found: list[_Stretch] = []
    for index, (first, start) in enumerate(starts.items()):
        used = [
            next((each.cfg for each in reversed(history) if each.number <= first), history[0].cfg)
            for history in histories
        ]
        name = used[0] if len(used) == 1 else f"{zlib.crc32(''.join(used).encode()):08x}"
        if any(each.name == name for each in found):
            name = f"{name}-{first}"
        found.append(_Stretch(name, start, first, numbers[index + 1]))
    return found


def _representations(stretch: _Stretch, tracks: Sequence[_ListedTrack]) -> list[DashRepresentation]:
    counts = {VIDEO: 0, AUDIO: 0}
    found = []
    for each in tracks:
        first, end = (bisect_left(each.segments, number, key=_number) for number in (stretch.first, stretch.end))
        if first < end:
            name = f"{each.track[0]}{counts[each.track]}"
            found.append(_representation(name, each.member, each.track, each.segments[first:end]))
        counts[each.track] += 1
    return found


def _representation(name: str, member: Member, track: Track, segments: Sequence[LiveSegment]) -> DashRepresentation:
    newest = segments[-1]
    return DashRepresentation(
        name=name,
        track=track,
        codecs=codec_string(newest.format.config),
        bandwidth=peak_rate(segments),
        timescale=newest.format.timescale,
        base=f"{member.prefix}{newest.cfg}/{member.stream.tracks[track].name}/",
        segments=[each.entry for each in segments],
        width=newest.format.width,
        height=newest.format.height,
        frame_rate=frame_rate(segments) if track == VIDEO else 0.0,
        channels=newest.format.channels,
    )
