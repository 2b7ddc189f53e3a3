"""A ladder: streams of one source, each at another bitrate, shown as renditions of one presentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from lb.media.frames import AUDIO, VIDEO
from lb.media.live_manifest import live_manifest
from lb.media.live_playlists import Member, live_master, peak_rate
from lb.media.live_resources import master_caching, missing, not_known_yet, playlist_caching
from lb.media.live_stream import LiveStream
from lb.media.responses import MANIFEST, PLAYLIST, MediaResponse, text_response

__all__ = ["Ladder"]


@attrs.frozen
class Ladder:
    """Its lists lead to those of its members, so that each segment has one address in caches.

    The members share a timeline: one clock, numbers and discontinuities.
    """

    name: str
    members: Sequence[str]
    """Names of streams."""
    _find: Callable[[str], LiveStream | None]
    """Returns a stream by its name; None: it is not there."""

    def resource(self, path: str, now: float) -> MediaResponse:
        """Return what is at a path below the ladder's name, at a time in seconds since 1970."""
        if path not in ("master.m3u8", "manifest.mpd"):
            return missing()
        members = self.shown()
        if not members:
            return not_known_yet() if any(self._find(name) for name in self.members) else missing()
        sound = best_audio(members)
        if path == "master.m3u8":
            return text_response(live_master(members, sound), PLAYLIST, master_caching())
        return text_response(live_manifest(members, sound, now), MANIFEST, playlist_caching(members[0].stream))

    def shown(self) -> list[Member]:
        """Return the members whose publishers are there; if none is, those that still can be seen."""
        streams = [(name, self._find(name)) for name in self.members]
        known = [Member(stream, f"../{name}/") for name, stream in streams if stream is not None]
        known = [member for member in known if member.tracks and member.is_known]
        return [member for member in known if member.stream.is_live] or known


def best_audio(members: Sequence[Member]) -> Member | None:
    """Return the member with the largest picture, then the highest bitrate, of those with sound."""
    return max((member for member in members if AUDIO in member.tracks), key=_quality, default=None)


def _quality(member: Member) -> tuple[int, int]:
    sound = peak_rate(member.stream.listed(member.tracks[AUDIO]))
    video = member.tracks.get(VIDEO)
    if video is None:
        return (0, sound)
    return (video.segments[-1].format.width * video.segments[-1].format.height, sound)
