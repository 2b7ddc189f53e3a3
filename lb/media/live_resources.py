"""What viewers get of a live stream: addresses and queries to responses, or to waiting until there is more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from lb.media.frames import AUDIO, VIDEO
from lb.media.iso_times import iso_time
from lb.media.live_manifest import live_manifest
from lb.media.live_playlists import Member, live_master, live_playlist, target_duration
from lb.media.live_stream import LiveStream
from lb.media.live_tracks import LivePart, LiveSegment, LiveTrack
from lb.media.responses import FOREVER, INIT, MANIFEST, NO_STORE, PLAYLIST, SEGMENT, TEXT, MediaResponse, text_response

__all__ = [
    "HeldRequest",
    "clock_response",
    "live_resource",
    "missing",
    "not_known_yet",
]

BLOCKING_RELOAD = "max-age=12"
SEGMENTS_AHEAD = 2
"""Segments that a blocking reload may ask for ahead of the list."""
PARTS_AHEAD = 3
"""Parts, or seconds of shorter ones, that it may ask for beyond a segment: the Advance Part Limit of RFC 8216bis."""
HELD_WHILE_LIVE, HELD_WHILE_AWAY = 3, 1
"""Target durations that a request is held at most."""
_PATH = re.compile(r"([0-9a-f]{8})/(v0|a0)/(?:(init)\.mp4|t([0-9]{1,18})\.m4s|([0-9]{1,18})(?:\.([0-9]{1,6}))?\.m4s)")
_LISTS = {"v0.m3u8": VIDEO, "a0.m3u8": AUDIO}
_NUMBER = re.compile(r"[0-9]{1,15}")


@attrs.frozen
class HeldRequest:
    """What was asked for is not there yet. Ask again when the stream has changed, or at this time."""

    until: float
    """In seconds since 1970."""


def live_resource(
    stream: LiveStream, path: str, query: Mapping[str, str], asked: float, now: float
) -> MediaResponse | HeldRequest:
    """Return what is at a path below the stream's name. ``asked`` is when the request came; both in seconds since 1970.

    The answer to a request that was held is got by the same call, later. After :class:`HeldRequest`'s time it is never
    that.
    """
    if path in _LISTS:
        return _media_list(_Asked(stream, asked, now), stream.tracks.get(_LISTS[path]), query)
    if path in ("master.m3u8", "manifest.mpd"):
        member = Member(stream)
        if not member.is_known:
            return not_known_yet()
        sound = member if AUDIO in member.tracks else None
        if path == "master.m3u8":
            return text_response(live_master([member], sound), PLAYLIST, master_caching())
        return text_response(live_manifest([member], sound, now), MANIFEST, playlist_caching(stream))
    match = _PATH.fullmatch(path)
    if match is None:
        return missing()
    return _file(_Asked(stream, asked, now), match)


def missing() -> MediaResponse:
    """Return the answer for what is not, or no longer, there."""
    return MediaResponse(404, TEXT, "max-age=1", (b"There is no such stream or segment.\n",))


def not_known_yet() -> MediaResponse:
    """Return the answer while a stream has just begun: a cache may serve what it has of the stream before."""
    return MediaResponse(503, TEXT, NO_STORE, (b"The stream has no segments yet.\n",))


def clock_response(now: float) -> MediaResponse:
    """Return the time, for players that ask for it: UTCTiming of the manifest, http-iso."""
    return MediaResponse(200, TEXT, NO_STORE, (iso_time(now).encode(),))


def master_caching() -> str:
    return "max-age=2, stale-if-error=30"


def playlist_caching(stream: LiveStream) -> str:
    """Return for how long lists may be cached: half a target."""
    return f"max-age={max(1, int(stream.settings.segment / 2))}, stale-if-error=30"


@attrs.frozen
class _Asked:
    """A request for a resource of a stream."""

    stream: LiveStream
    asked: float
    now: float

    def held(self) -> HeldRequest | None:
        """Return that the request is held; None: it was for long enough."""
        targets = HELD_WHILE_LIVE if self.stream.is_live else HELD_WHILE_AWAY
        until = self.asked + targets * target_duration(self.stream)
        if self.now >= until or self.stream.has_ended(self.now):
            return None
        return HeldRequest(until)

    def list(self, track: LiveTrack, cache_control: str) -> MediaResponse:
        """Return the playlist of a track that is listed."""
        playlist = live_playlist(self.stream, track, self.now)
        return not_known_yet() if playlist is None else text_response(playlist.text(), PLAYLIST, cache_control)


def _media_list(request: _Asked, track: LiveTrack | None, query: Mapping[str, str]) -> MediaResponse | HeldRequest:
    if track is None or not track.segments or track.segments[-1].number < request.stream.first_listed:
        return not_known_yet()
    sequence, part = query.get("_HLS_msn"), query.get("_HLS_part")
    if sequence is None and part is None:
        return request.list(track, playlist_caching(request.stream))
    if sequence is None or not _NUMBER.fullmatch(sequence) or not (part is None or _NUMBER.fullmatch(part)):
        return _bad_request("_HLS_msn and _HLS_part are numbers, and _HLS_part needs _HLS_msn.")
    if int(sequence) > track.segments[-1].sequence + SEGMENTS_AHEAD:
        return _bad_request(f"_HLS_msn={sequence} is more than {SEGMENTS_AHEAD} segments ahead.")
    if part is not None and int(part) > _most_parts(request.stream, track):
        return _bad_request(f"_HLS_part={part} is more than any segment has.")
    if _is_there(track, int(sequence), None if part is None else int(part)):
        return request.list(track, BLOCKING_RELOAD)
    return request.held() or attrs.evolve(request.list(track, NO_STORE), for_all_who_wait=True)


def _most_parts(stream: LiveStream, track: LiveTrack) -> int:
    """Return how many parts a segment may have by the time that a request is answered. More would be as many keys of a
    cache, each with a request that is held."""
    length = stream.settings.part or stream.settings.segment
    growing = 0 if track.growing is None else len(track.growing.parts)
    return max(growing, int(target_duration(stream) / length)) + max(PARTS_AHEAD, int(PARTS_AHEAD / length))


def _is_there(track: LiveTrack, sequence: int, part: int | None) -> bool:
    """Return whether a list has this segment, or this part of it; beyond its last part, the first of the next."""
    newest, growing = track.segments[-1], track.growing
    if part is None or newest.sequence > sequence:
        return newest.sequence >= sequence
    if newest.sequence == sequence and part < len(newest.parts):
        return True
    if growing is None:
        return False
    return growing.sequence > sequence or (growing.sequence == sequence and part < len(growing.parts))


def _bad_request(reason: str) -> MediaResponse:
    return MediaResponse(400, TEXT, NO_STORE, (f"{reason}\n".encode(),))


def _file(request: _Asked, match: re.Match[str]) -> MediaResponse | HeldRequest:
    """Return an initialization segment, a segment or a part."""
    cfg, name, init, time, number, part = match.groups()
    track = next((each for each in request.stream.tracks.values() if each.name == name), None)
    if track is None:
        return missing()
    if init:
        return MediaResponse(200, INIT, FOREVER, (track.inits[cfg],)) if cfg in track.inits else missing()
    segment = _found(track, cfg, time, number)
    if segment is not None:
        return _of_segment(request, segment, part, complete=segment is not track.growing)
    return missing() if number is None else _not_there(request, track, int(number), part)


def _found(track: LiveTrack, cfg: str, time: str | None, number: str | None) -> LiveSegment | None:
    """Return the segment of this configuration that begins at this time, or else has this number."""
    if time is not None:
        start = int(time)
        found = (segment for segment in track.all_segments if segment.start == start and segment.cfg == cfg)
        return next(found, None)
    wanted = int(number or 0)
    near = [*track.segments[track.index_of(wanted) :][:1], *([track.growing] if track.growing else [])]
    return next((segment for segment in near if segment.number == wanted and segment.cfg == cfg), None)


def _of_segment(
    request: _Asked, segment: LiveSegment, part: str | None, *, complete: bool
) -> MediaResponse | HeldRequest:
    if part is None:
        if segment.file is not None and not segment.parts:
            return MediaResponse(200, SEGMENT, FOREVER, file=segment.file)
        return _segment_response(segment.parts) if complete else _not_yet()
    if int(part) < len(segment.parts):
        return _segment_response(segment.parts[int(part) : int(part) + 1])
    return _not_yet() if complete or int(part) > len(segment.parts) else request.held() or _not_yet()


def _not_there(request: _Asked, track: LiveTrack, number: int, part: str | None) -> MediaResponse | HeldRequest:
    """Answer for a segment that is not kept. The first part of the next one may be waited for: lists hint at it."""
    newest = track.all_segments[-1] if track.all_segments else None
    if newest is None or number <= newest.number:
        return missing()
    if number > newest.number + SEGMENTS_AHEAD:
        return _bad_request(f"Segment {number} is more than {SEGMENTS_AHEAD} segments ahead.")
    is_hinted = number == newest.number + 1 and part == "0" and newest is not track.growing
    return (request.held() if is_hinted and request.stream.is_live else None) or _not_yet()


def _segment_response(parts: Sequence[LivePart]) -> MediaResponse:
    return MediaResponse(200, SEGMENT, FOREVER, tuple(part.data for part in parts))


def _not_yet() -> MediaResponse:
    return MediaResponse(404, TEXT, NO_STORE, (b"The segment is not there yet, or never came.\n",))
