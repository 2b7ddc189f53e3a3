"""A title: a film from one file, or from several with the same film at different bitrates."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import attrs

from lb.media.frames import AUDIO, VIDEO, VIDEO_TIMESCALE, MediaError
from lb.media.index import MAX_TITLE_SECONDS, IndexedTrack, open_movie
from lb.media.title_track import ServedTrack, TitleTrack, cut_audio, cut_video
from lb.media.vod_cuts import KeyFrames, common_cuts, even_cuts

__all__ = ["Title", "TitleFile", "open_title"]

_LATE = 10
"""Seconds. What begins later, such as a recording of a live stream whose times count from 1970, begins at 0 instead."""


@attrs.frozen
class TitleFile:
    """An open file of a title. ``name`` is for people who read why a title is refused."""

    name: str
    fd: int


@attrs.frozen(eq=False)
class Title:
    """A title that can be served. It has video, or audio, or both."""

    video: tuple[TitleTrack, ...]
    """The renditions, by bitrate; their segments begin with the same frames."""
    audio: TitleTrack | None
    """Of the best rendition that has any."""
    segment: float
    """How long a segment is meant to be, in seconds."""

    @property
    def tracks(self) -> dict[str, TitleTrack]:
        """All tracks by their names in addresses: ``v0`` and so on, by bitrate, and ``a0``."""
        named = {f"v{number}": track for number, track in enumerate(self.video)}
        return named if self.audio is None else {**named, "a0": self.audio}


def open_title(files: Sequence[TitleFile], segment: float) -> Title:
    """Read the files and cut them. Raises OSError, and :class:`MediaError` with what is wrong.

    ``segment`` is the length of a segment in seconds.
    """
    found = {VIDEO: [], AUDIO: []}  # type: dict[str, list[tuple[TitleFile, IndexedTrack]]]
    for file in files:
        for track in _tracks(file, alone=len(files) == 1):
            found[track.format.track].append((file, track))
    zero = min(_begin(track) for _, track in found[VIDEO] or found[AUDIO])
    if 0 < zero < _LATE:
        zero = Fraction(0)
    video, audio = ([_served(file, track, zero) for file, track in found[kind]] for kind in (VIDEO, AUDIO))
    renditions = _cut_renditions(video, segment) if video else ()
    return Title(renditions, _cut_audio_track(audio, renditions, segment) if audio else None, segment)


def _tracks(file: TitleFile, *, alone: bool) -> tuple[IndexedTrack, ...]:
    try:
        return open_movie(file.fd)
    except MediaError as error:
        if alone:
            raise
        raise MediaError(f"{file.name}: {error}") from error


def _begin(track: IndexedTrack) -> Fraction:
    """Return when the first frame is shown that a player can begin with, in seconds by the edit list."""
    served = ServedTrack(-1, track, Fraction(0))
    first = served.key_frames()[0] if track.format.track == VIDEO else 0
    begin = Fraction(served.time(track.stored.table.pts(first)), track.format.timescale)
    return begin if track.format.track == VIDEO else max(Fraction(0), begin)  # or else it primes the decoder


def _served(file: TitleFile, track: IndexedTrack, zero: Fraction) -> ServedTrack:
    """Return a track by the title's clock. Raises :class:`MediaError` if it ends before that begins, or in years."""
    served = ServedTrack(file.fd, track, zero)
    if not 0 < served.end_time <= MAX_TITLE_SECONDS * served.format.timescale:
        raise MediaError(f"it is damaged: its {track.format.track} ends before the film begins, or after a week")
    return served


def _cut_renditions(video: Sequence[ServedTrack], segment: float) -> tuple[TitleTrack, ...]:
    keys = [served.key_frames() for served in video]
    times = [
        KeyFrames(
            [served.time(served.indexed.stored.table.pts(key)) for key in its_keys], served.frame, served.end_time
        )
        for served, its_keys in zip(video, keys, strict=True)
    ]
    cuts = common_cuts(times, round(segment * VIDEO_TIMESCALE), VIDEO_TIMESCALE)
    tracks = [
        cut_video(served, [its_keys[number] for number in numbers])
        for served, its_keys, numbers in zip(video, keys, cuts, strict=True)
    ]
    return tuple(sorted(tracks, key=lambda track: track.bitrate))


def _cut_audio_track(audio: Sequence[ServedTrack], renditions: Sequence[TitleTrack], segment: float) -> TitleTrack:
    """Cut the audio of the best rendition that has any, or else the best audio, where video is cut.

    After the last of these cuts, and without video, it is cut by time.
    """
    by_file = {track.served.fd: track.bitrate for track in renditions}
    best = max(audio, key=lambda served: (by_file.get(served.fd, 0), sum(served.indexed.stored.table.sizes)))
    cuts = [Fraction(time, VIDEO_TIMESCALE) for time in renditions[-1].times[:-1]] if renditions else [Fraction(0)]
    scale = best.format.timescale
    after = even_cuts(round(cuts[-1] * scale), best.end_time, round(segment * scale))
    return cut_audio(best, [*cuts[1:], *(Fraction(time, scale) for time in after)])
