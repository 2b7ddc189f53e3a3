"""The HLS playlists of a live stream, or of a ladder of them, made of the segments that they keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from lb.media.frames import AUDIO, VIDEO, Track, codec_string
from lb.media.hls import HlsAudio, HlsPart, HlsPlaylist, HlsReport, HlsSegment, HlsVariant, master_playlist
from lb.media.live_stream import LiveStream
from lb.media.live_tracks import LiveSegment, LiveTrack

__all__ = ["Member", "average_rate", "frame_rate", "live_master", "live_playlist", "peak_rate", "target_duration"]

SEGMENTS_WITH_PARTS = 2
"""Complete segments whose parts are listed, the newest ones."""
_RATE_OF = 100
"""Segments by which the frame rate is told."""
ENOUGH_SEGMENTS = 3
"""With as many, a stream is shown even if another track has none."""


@attrs.frozen
class Member:
    """A stream as a rendition of a presentation, for one response: what its tracks are is found out once."""

    stream: LiveStream
    prefix: str = ""
    """What leads to the stream's resources from the presentation's lists."""
    tracks: Mapping[Track, LiveTrack] = attrs.field(init=False, eq=False)
    """Its tracks of the configuration in use that have segments."""

    @tracks.default
    def _in_use(self) -> Mapping[Track, LiveTrack]:
        listed = {track: (each, self.stream.listed(each)) for track, each in self.stream.tracks.items()}
        return {track: each for track, (each, found) in listed.items() if found and found[-1].cfg == self.stream.cfg}

    @property
    def is_known(self) -> bool:
        """Return whether it can be listed: all its tracks have segments, or one has so many that no other will come."""
        if len(self.tracks) >= max(self.stream.expected_tracks, 1):
            return True
        return any(len(self.stream.listed(each)) >= ENOUGH_SEGMENTS for each in self.tracks.values())


def live_master(members: Sequence[Member], sound: Member | None) -> str:
    """Return the list of renditions, at least one, all known. Their sound is that of ``sound``.

    Members of sound alone are listed only if there is none with video.
    """
    with_video = [each for each in members if VIDEO in each.tracks]
    if not with_video:
        return master_playlist([_variant(each, AUDIO, None) for each in members[:1]], None)
    track = None if sound is None else sound.tracks[AUDIO]
    if sound is None or track is None:
        return master_playlist([_variant(each, VIDEO, None) for each in with_video], None)
    heard = sound.stream.listed(track)
    audio = HlsAudio(f"{sound.prefix}{track.name}.m3u8", heard[-1].format.channels)
    return master_playlist([_variant(each, VIDEO, heard) for each in with_video], audio)


def _variant(member: Member, kind: Track, heard: Sequence[LiveSegment] | None) -> HlsVariant:
    """Return a track as a rendition, with these segments of sound."""
    track = member.tracks[kind]
    segments = member.stream.listed(track)
    parts = [segments] if heard is None else [segments, heard]
    newest = segments[-1].format
    return HlsVariant(
        uri=f"{member.prefix}{track.name}.m3u8",
        bandwidth=sum(map(peak_rate, parts)),
        average=sum(round(average_rate(each)) for each in parts),
        codecs=[codec_string(each[-1].format.config) for each in parts],
        width=newest.width,
        height=newest.height,
        frame_rate=frame_rate(segments) if kind == VIDEO else 0.0,
    )


def peak_rate(segments: Sequence[LiveSegment]) -> int:
    """Return the bits a second of the heaviest segment."""
    return round(max([segment.bits_per_second for segment in segments]))


def average_rate(segments: Sequence[LiveSegment]) -> float:
    """Return the bits a second of all segments together; 0 without any."""
    seconds = sum([segment.seconds for segment in segments])
    return sum([segment.size for segment in segments]) * 8 / max(seconds, 0.001)


def frame_rate(segments: Sequence[LiveSegment]) -> float:
    """Return frames a second, of the newest segments."""
    newest = segments[-_RATE_OF:]
    seconds = sum(segment.seconds for segment in newest)
    return sum(segment.frames for segment in newest) / max(seconds, 0.001)


def live_playlist(stream: LiveStream, track: LiveTrack, now: float) -> HlsPlaylist | None:
    """Return the list of one track; None: it has no segments."""
    segments = stream.listed(track)
    if not segments:
        return None
    has_parts = stream.settings.part > 0
    growing = track.growing if has_parts else None
    last = growing or segments[-1]
    breaks_before = stream.timeline.breaks_before
    breaks_after = stream.timeline.all_breaks() - breaks_before(last.number)
    return HlsPlaylist(
        _lines(stream, track, segments, growing),
        target=target_duration(stream),
        first=segments[0].sequence,
        breaks_before=breaks_before(segments[0].number),
        breaks_after=breaks_after,
        part_target=_part_target(stream) if has_parts else 0.0,
        hint=_hint(track, last) if has_parts and stream.is_live and not breaks_after else "",
        reports=_reports(stream, track) if has_parts else (),
        ended=stream.has_ended(now),
    )


def target_duration(stream: LiveStream) -> int:
    """Return the seconds that no segment of the stream is longer than, rounded."""
    longest = (track.longest for track in stream.tracks.values())
    return max(int(seconds + 0.5) for seconds in (*longest, stream.settings.segment, 1.0))


def _lines(
    stream: LiveStream, track: LiveTrack, segments: Sequence[LiveSegment], growing: LiveSegment | None
) -> list[HlsSegment]:
    first_with_parts = len(segments) - SEGMENTS_WITH_PARTS if stream.settings.part > 0 else len(segments)
    lines = []
    before: LiveSegment | None = None
    for index, segment in enumerate(segments if growing is None else (*segments, growing)):
        line = segment.line
        if line is None:
            stays = before is not None and index < first_with_parts
            line = _line(stream, track, segment, before, with_parts=index >= first_with_parts)
            segment.line = line if stays else None
        lines.append(line)
        before = segment
    return lines


def _line(
    stream: LiveStream, track: LiveTrack, segment: LiveSegment, before: LiveSegment | None, *, with_parts: bool
) -> HlsSegment:
    """Return what a list says of a segment behind another one."""
    base = f"{segment.cfg}/{track.name}"
    breaks_before = stream.timeline.breaks_before
    return HlsSegment(
        uri=f"{base}/{segment.number}.m4s",
        seconds=segment.seconds,
        map_uri=f"{base}/init.mp4",
        date=segment.start_seconds,
        breaks=0 if before is None else breaks_before(segment.number) - breaks_before(before.number),
        parts=_parts(segment, base) if with_parts else (),
        complete=segment is not track.growing,
    )


def _parts(segment: LiveSegment, base: str) -> list[HlsPart]:
    return [
        HlsPart(f"{base}/{segment.number}.{index}.m4s", part.duration / segment.format.timescale, part.independent)
        for index, part in enumerate(segment.parts)
    ]


def _part_target(stream: LiveStream) -> float:
    """Return the seconds that no part of the stream is longer than."""
    lengths = [stream.settings.part]
    for track in stream.tracks.values():
        for segment in track.all_segments[-stream.settings.window :]:
            lengths += [part.duration / segment.format.timescale for part in segment.parts]
    return max(lengths)


def _hint(track: LiveTrack, last: LiveSegment) -> str:
    """Return the address of the part that comes next."""
    if last is track.growing:
        return f"{last.cfg}/{track.name}/{last.number}.{len(last.parts)}.m4s"
    return f"{last.cfg}/{track.name}/{last.number + 1}.0.m4s"


def _reports(stream: LiveStream, track: LiveTrack) -> list[HlsReport]:
    """Return how far the other tracks are."""
    reports = []
    for other in stream.tracks.values():
        if other is not track and other.all_segments:
            newest = other.all_segments[-1]
            reports.append(HlsReport(f"{other.name}.m3u8", newest.sequence, len(newest.parts) - 1))
    return reports
