"""Titles in segments: every frame comes out once, at its time."""

from __future__ import annotations

import io
import itertools
import os
import random
from contextlib import contextmanager, suppress
from fractions import Fraction

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.media.frames import CODECS, VIDEO, MediaError
from lb.media.title import TitleFile, open_title
from tests.support.media_source import FPS
from tests.support.titles import FORMS, FRAME, film, packets, places, rebuilt


@contextmanager
def title(tmp_path, *films, segment=2.0):
    """Open a title of these files."""
    files = []
    try:
        for number, data in enumerate(films):
            path = tmp_path / f"{number}.mp4"
            path.write_bytes(data)
            files.append(TitleFile(path.name, os.open(path, os.O_RDONLY)))
        yield open_title(files, segment)
    finally:
        for file in files:
            os.close(file.fd)


def played(track):
    """Return what a player gets of all segments of a track: times in seconds, key frame or not, bytes."""
    data = track.init() + b"".join(track.segment(number) for number in range(track.count))
    return packets(data, track.format.track)


def tfdt(segment):
    at = segment.index(b"tfdt")
    assert segment[at + 4] == 1
    return int.from_bytes(segment[at + 8 : at + 16])


def shown(found):
    return [(pts, key, data) for _, pts, key, data in found]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "CMAF"])
def test_every_frame_comes_out_once_and_at_its_time(tmp_path, form, codec):
    data = film(codec, form=form)
    with title(tmp_path, data) as found:
        track = found.video[0] if CODECS[codec] == VIDEO else found.audio
        assert track.count == 3
        assert shown(played(track)) == shown(packets(data, CODECS[codec]))


def test_picture_and_sound_of_a_film_are_not_shifted_against_each_other(tmp_path):
    data = film("avc1", "mp4a")
    with title(tmp_path, data) as found:
        assert shown(played(found.video[0])) == shown(packets(data, "video"))
        assert shown(played(found.audio)) == shown(packets(data, "audio"))


@pytest.mark.parametrize("codec", CODECS)
def test_a_segment_says_when_its_decoding_begins(tmp_path, codec):
    with title(tmp_path, film(codec)) as found:
        track = found.video[0] if found.video else found.audio
        source = packets(film(codec), CODECS[codec])
        for number in range(track.count):
            first = source[track.bounds[number]]
            expected = (first[0] - source[0][0]) * track.format.timescale
            assert tfdt(track.segment(number)) == expected


@pytest.mark.parametrize("codec", CODECS)
def test_times_of_segments_are_those_of_their_frames(tmp_path, codec):
    with title(tmp_path, film(codec)) as found:
        track = found.video[0] if found.video else found.audio
        frames = packets(film(codec), CODECS[codec])
        begins = [frames[number][1] * track.format.timescale for number in track.bounds[:-1]]
        assert list(track.times[:-1]) == [max(0, begin) for begin in begins]
        last = max(pts for _, pts, _, _ in frames)
        assert 0 < Fraction(track.times[-1], track.format.timescale) - last <= FRAME[CODECS[codec]]


@pytest.mark.parametrize("codec", ["avc1", "hvc1", "av01"])
def test_a_segment_of_video_begins_with_a_key_frame(tmp_path, codec):
    with title(tmp_path, film(codec)) as found:
        track = found.video[0]
        for number in range(track.count):
            assert packets(track.init() + track.segment(number), "video")[0][2]


def test_sound_is_cut_at_the_first_frame_after_the_picture_s_cut(tmp_path):
    with title(tmp_path, film("avc1", "mp4a")) as found:
        for cut, sound in zip(found.video[0].times[1:-1], found.audio.times[1:-1], strict=True):
            assert 0 <= Fraction(sound, found.audio.format.timescale) - Fraction(cut, 90_000) < FRAME["audio"]


def test_segments_keep_their_bytes(tmp_path):
    with title(tmp_path, film("avc1", "mp4a")) as found:
        for track in (*found.video, found.audio):
            assert track.init() == track.init()
            assert [track.segment(at) for at in range(track.count)] == [track.segment(at) for at in range(track.count)]


def ladder():
    return [film("avc1", "mp4a", bitrate=bitrate) for bitrate in (400_000, 50_000, 150_000)]


def test_renditions_are_in_order_of_their_bitrate_and_cut_alike(tmp_path):
    with title(tmp_path, *ladder()) as found:
        assert [track.bitrate for track in found.video] == sorted(track.bitrate for track in found.video)
        assert found.video[0].bitrate < found.video[2].bitrate
        assert len({track.times for track in found.video}) == 1


def test_sound_comes_from_the_best_rendition_that_has_any(tmp_path):
    silent = film("avc1", bitrate=400_000)
    worse, better = (film("avc1", "mp4a", bitrate=bitrate) for bitrate in (50_000, 150_000))
    with title(tmp_path, worse, silent, better) as found:
        assert shown(played(found.audio)) == shown(packets(better, "audio"))


def test_a_file_of_sound_goes_with_the_renditions_of_the_picture(tmp_path):
    with title(tmp_path, film("avc1"), film("mp4a")) as found:
        assert (len(found.video), found.audio.format.config.codec) == (1, "mp4a")


def test_renditions_with_key_frames_at_other_times_are_refused(tmp_path):
    with pytest.raises(MediaError, match="no key frame in common"), title(
        tmp_path, film("avc1", seconds=20, gop=25), film("avc1", seconds=20, gop=33), segment=1.0
    ):  # fmt: skip
        pass


def test_a_bad_file_among_renditions_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"^1\.mp4: it is cut off"), title(
        tmp_path, film("avc1"), film("avc1", gop=50)[:-1000]
    ):  # fmt: skip
        pass


def trimmed(data, begin):
    """Return the film from ``begin`` on, in seconds, as ffmpeg cuts without encoding: from a key frame before."""
    output = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(output, "w", format="mp4") as target:
        streams = {each.index: target.add_stream_from_template(each, opaque=True) for each in source.streams}
        kept = [each for each in source.demux() if each.dts is not None]
        keys = [each.pts * each.time_base for each in kept if each.stream.type == "video" and each.is_keyframe]
        key = max((at for at in keys if at <= begin), default=Fraction(0))
        for each in kept:
            ticks = round(begin / each.time_base)
            at = each.pts * each.time_base
            if each.stream.type == "video" and (at < key and each.dts * each.time_base < key):
                continue
            if each.stream.type == "audio" and at < begin - Fraction(1, 20):
                continue
            each.dts, each.pts, each.stream = each.dts - ticks, each.pts - ticks, streams[each.stream.index]
            target.mux(each)
    return output.getvalue()


def test_a_film_trimmed_between_key_frames_begins_with_the_one_before(tmp_path):
    """A frame that is not shown could not be left away, and players show nothing until the next key frame."""
    data = trimmed(film("avc1", "mp4a"), Fraction(3, 2))
    whole = packets(film("avc1", "mp4a"), "video")
    with title(tmp_path, data) as found:
        pictures, sound = played(found.video[0]), played(found.audio)
        assert pictures[0][1] == 0
        assert shown(pictures) == [(pts - 1, key, frame) for _, pts, key, frame in whole if pts >= 1]
        earlier = {our[1] - their[1] for our, their in zip(sound, packets(data, "audio"), strict=True)}
        assert earlier == {Fraction(1, 2)}


def moved(data, seconds):
    """Return a fragmented film whose times of decoding are so much later."""
    data = bytearray(data)
    at = -1
    scales = {1: 12_800, 2: 48_000}
    while (at := data.find(b"tfdt", at + 1)) > 0:
        track = int.from_bytes(data[data.rfind(b"tfhd", 0, at) + 8 :][:4])
        time = int.from_bytes(data[at + 8 : at + 16]) + seconds * scales[track]
        data[at + 8 : at + 16] = time.to_bytes(8)
    return bytes(data)


def test_a_recording_whose_times_count_from_1970_begins_at_0(tmp_path):
    data = film("avc1", "mp4a", form="fragments")
    with title(tmp_path, moved(data, 1_764_000_000)) as found:
        assert shown(played(found.video[0])) == shown(packets(data, "video"))
        assert shown(played(found.audio)) == shown(packets(data, "audio"))


def test_a_film_that_would_last_for_years_is_refused(tmp_path):
    """Its playlist would fill the memory."""
    data = film("avc1", "mp4a", form="fragments")
    at = data.rfind(b"tfdt") + 8
    with pytest.raises(MediaError, match="more than a week"), title(
        tmp_path, data[:at] + (1 << 50).to_bytes(8) + data[at + 8 :]
    ):  # fmt: skip
        pass


@pytest.mark.parametrize("pause", [1 << 31, 1 << 40, 1 << 62])
def test_a_film_that_begins_in_years_is_refused_unless_all_of_it_does(tmp_path, pause):
    data = film("mp4a", seconds=2)
    at = data.index(b"elst") - 4
    size = int.from_bytes(data[at : at + 4])
    edits = b"".join(
        (each[0].to_bytes(8) + each[1].to_bytes(8, signed=True) + b"\0\1\0\0") for each in ((pause, -1), (2000, 1024))
    )
    late = rebuilt(data, b"elst", b"\1\0\0\0" + (2).to_bytes(4) + edits)
    assert size < len(edits)
    with title(tmp_path, late) as found:
        assert found.audio.count == 1
    with pytest.raises(MediaError, match="or after a week"), title(tmp_path, film("avc1", seconds=2), late):
        pass


def test_sound_that_lasts_longer_than_the_picture_is_cut_by_time(tmp_path):
    with title(tmp_path, film("avc1", seconds=2), film("mp4a", seconds=20)) as found:
        assert found.video[0].count == 1
        assert max(found.audio.seconds) < 3.1
        assert shown(played(found.audio)) == shown(packets(film("mp4a", seconds=20), "audio"))


def test_a_segment_beyond_the_last_is_an_error(tmp_path):
    with title(tmp_path, film("avc1")) as found, pytest.raises(IndexError):
        found.video[0].segment(3)


def test_a_file_that_became_shorter_gives_no_segment(tmp_path):
    with title(tmp_path, film("avc1")) as found:
        os.truncate(tmp_path / "0.mp4", 5000)
        with pytest.raises(MediaError, match="has become shorter"):
            found.video[0].segment(2)


def test_segments_that_would_fill_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lb.media.title_track._MAX_SEGMENT", 1000)
    with pytest.raises(MediaError, match="would have more than"), title(tmp_path, film("avc1")):
        pass


def test_bitrates_and_frame_rate(tmp_path):
    with title(tmp_path, film("avc1")) as found:
        (track,) = found.video
        size = sum(len(data) for _, _, _, data in packets(film("avc1"), "video"))
        assert 8 * size / 6 < track.bitrate < 1.1 * 8 * size / 6 + 5000
        assert all(len(track.segment(at)) <= track.sizes[at] for at in range(track.count))
        assert track.peak_bitrate >= track.bitrate
        assert track.frame_rate == FPS
        assert sum(track.seconds) == pytest.approx(6)


@pytest.mark.parametrize("form", ["plain", "fragments"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_of_a_damaged_film_comes_a_reason_or_segments(tmp_path_factory, form, seed):
    data = bytearray(film("avc1", "mp4a", seconds=2, form=form))
    chance = random.Random(seed)
    begin, end = chance.choice([at for kind in (b"moov", b"moof") for at in places(data, kind)])
    data[chance.randrange(begin, end)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
    with suppress(MediaError), title(tmp_path_factory.mktemp("film"), bytes(data), segment=1.0) as found:
        for track in (*found.video, *filter(None, (found.audio,))):
            assert track.init()
            assert all(map(track.segment, range(track.count)))


def test_a_film_s_segments_cover_it_without_gap_or_overlap(tmp_path):
    with title(tmp_path, film("avc1", "mp4a")) as found:
        for track in (*found.video, found.audio):
            assert all(begin < end for begin, end in itertools.pairwise(track.bounds))
            assert track.bounds[0] == 0
            assert track.bounds[-1] == track.served.indexed.stored.table.count
