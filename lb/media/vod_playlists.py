"""The playlists and the MPD of a title. Addresses are relative to the title's own."""

from __future__ import annotations

from itertools import pairwise

from lb.media.dash import DashManifest, DashPeriod, DashRepresentation, DashSegment
from lb.media.frames import VIDEO, codec_string
from lb.media.hls import HlsAudio, HlsPlaylist, HlsSegment, HlsVariant, master_playlist
from lb.media.title import Title
from lb.media.title_track import TitleTrack

__all__ = ["title_master", "title_mpd", "title_playlist"]


def title_master(title: Title) -> str:
    """Return the multivariant playlist."""
    audio = title.audio
    if not title.video:
        return master_playlist([_variant(name, track) for name, track in title.tracks.items()], None)
    variants = [_variant(name, track, audio) for name, track in title.tracks.items() if track is not audio]
    return master_playlist(variants, None if audio is None else HlsAudio("a0.m3u8", audio.format.channels))


def _variant(name: str, track: TitleTrack, audio: TitleTrack | None = None) -> HlsVariant:
    tracks = [track] if audio is None else [track, audio]
    return HlsVariant(
        uri=f"{name}.m3u8",
        bandwidth=sum(each.peak_bitrate for each in tracks),
        average=sum(each.bitrate for each in tracks),
        codecs=[codec_string(each.format.config) for each in tracks],
        width=track.format.width,
        height=track.format.height,
        frame_rate=track.frame_rate,
    )


def title_playlist(track: TitleTrack, base: str) -> str:
    """Return the media playlist of a track whose segments are below ``base``, which ends with a slash."""
    lengths = track.seconds
    target = max(1, *(int(seconds + 0.5) for seconds in lengths))
    init = f"{base}init.mp4"
    segments = [HlsSegment(f"{base}{number}.m4s", seconds, init) for number, seconds in enumerate(lengths)]
    return HlsPlaylist(segments, target, ended=True, fixed=True).text()


def title_mpd(title: Title, tag: str) -> str:
    """Return the MPD of a title whose segments are below ``tag``."""
    tracks = title.tracks
    return DashManifest(
        [DashPeriod(tag, 0.0, [_representation(name, track, f"{tag}/{name}/") for name, track in tracks.items()])],
        target=title.segment,
        longest=max(max(track.seconds) for track in tracks.values()),
        end=max(track.times[-1] / track.format.timescale for track in tracks.values()),
    ).text()


def _representation(name: str, track: TitleTrack, base: str) -> DashRepresentation:
    form = track.format
    return DashRepresentation(
        name,
        form.track,
        codec_string(form.config),
        track.peak_bitrate,
        form.timescale,
        base,
        [DashSegment(number, begin, end - begin) for number, (begin, end) in enumerate(pairwise(track.times))],
        width=form.width,
        height=form.height,
        frame_rate=track.frame_rate if form.track == VIDEO else 0.0,
        channels=form.channels,
    )
