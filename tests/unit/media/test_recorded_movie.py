"""Recordings put together from fragments of both tracks, read back by libav."""

from __future__ import annotations

import io

import attrs
import av
import pytest

from lb.media.fragment import open_track
from lb.media.frames import AUDIO, VIDEO
from lb.media.recorded_movie import RecordedMovie
from tests.support.live_publisher import NOW, live_stream
from tests.unit.media.test_live_media import source


def fragments(video, audio, seconds=4, **settings):
    """Return what a publisher sends, and the fragments that players get of it."""
    configs, frames = source(video, audio, seconds)
    found = []
    stream = live_stream(open_track=open_track, **settings)
    stream.record = found.append
    stream.published(NOW)
    for config in configs:
        stream.configure(config, NOW)
    for track, dts, pts, key, data in frames:
        stream.frame(track, dts, pts, NOW + dts / 1_000, key=key, data=data)
    stream.unpublished(NOW + seconds)
    return frames, found


def movie_of(found):
    movie = RecordedMovie(found)
    return movie, movie.header() + b"".join(b"".join(movie.fragment(each)) for each in found)


def packets(data):
    """Return what a player reads, by track: time of showing in seconds, key, data."""
    read = {VIDEO: [], AUDIO: []}
    with av.open(io.BytesIO(data)) as container:
        for each in container.demux():
            if each.size:
                read[each.stream.type].append((float(each.pts * each.time_base), each.is_keyframe, bytes(each)))
    return read


@pytest.mark.parametrize("part", [0.0, 0.5])
@pytest.mark.parametrize(("video", "audio"), [("avc1", "mp4a"), ("hvc1", "opus"), ("avc1", None), (None, "mp3")])
def test_every_packet_is_there_and_both_tracks_begin_near_0_and_are_shifted_alike(video, audio, part):
    frames, found = fragments(video, audio, part=part)
    movie, data = movie_of(found)
    read = packets(data)
    shifts = []
    for track in (VIDEO, AUDIO):
        sent = [(pts, key, data) for each, _, pts, key, data in frames if each == track]
        assert [each[1:] for each in read[track]] == [each[1:] for each in sent]
        shifts += [at - pts / 1_000 for (at, _, _), (pts, _, _) in zip(read[track], sent, strict=True)]
    assert max(shifts) - min(shifts) <= 0.0021  # two roundings to milliseconds
    assert max(map(abs, shifts)) <= 0.0021
    assert movie.begin == pytest.approx(NOW, abs=0.1)
    assert movie.seconds == pytest.approx(4, abs=0.1)


def test_its_duration_is_written_where_players_look_for_it():
    _, found = fragments("avc1", "mp4a")
    movie, data = movie_of(found)
    at, duration = movie.duration()
    assert data[at - 20 : at - 16] == b"mvhd"
    assert int.from_bytes(duration) == round(movie.seconds * 1_000)
    assert packets(data[:at] + duration + data[at + 4 :]) == packets(data)


def test_a_stream_of_months_has_the_longest_duration_that_can_be_told():
    _, found = fragments("avc1", None)
    movie, _ = movie_of(found)
    later = tuple(each._replace(dts=each.dts + 90_000 * 86_400 * 50) for each in found[-1].piece.samples)
    movie.fragment(attrs.evolve(found[-1], piece=attrs.evolve(found[-1].piece, samples=later)))
    assert movie.duration()[1] == b"\xff" * 4


def test_cut_off_anywhere_it_plays_to_its_last_whole_fragment():
    _, found = fragments("avc1", "mp4a")
    _, data = movie_of(found)
    _, shorter = movie_of(found[:-1])
    for cut in (len(shorter), len(shorter) + 1, len(shorter) + 9, len(data) - 1):
        read = packets(data[:cut])
        assert read[VIDEO] == packets(shorter)[VIDEO]
        assert len(packets(shorter)[AUDIO]) <= len(read[AUDIO]) <= len(packets(data)[AUDIO])


def test_numbers_of_fragments_count_from_1():
    _, found = fragments("avc1", "mp4a", part=0.5)
    movie = RecordedMovie(found)
    numbers = [int.from_bytes(movie.fragment(each)[0][20:24]) for each in found]
    assert numbers == list(range(1, len(found) + 1))
