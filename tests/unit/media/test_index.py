"""Files that libav wrote, in all forms and cut off anywhere: what is read of them is what libav reads."""

from __future__ import annotations

import io
import os
import random
import tempfile
from contextlib import suppress
from fractions import Fraction

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.media.frames import CODECS, MediaError
from lb.media.index import open_movie
from lb.media.mp4_boxes import written_box
from tests.support.media_source import FPS, HEIGHT, RATE, WIDTH
from tests.support.titles import FORMS, film, packets, places, rebuilt


def read(data):
    """Return the tracks of a file, and their samples as libav would give them."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        tracks = open_movie(file.fileno())
        return {track.format.track: (track, list(stored(file.fileno(), track))) for track in tracks}


def stored(fd, track):
    scale, shift = track.stored.timescale, track.stored.shift
    for each in track.stored.table.samples(0, track.stored.table.count):
        data = os.pread(fd, each.size, each.position)
        yield Fraction(each.dts + shift, scale), Fraction(each.pts + shift, scale), each.key, data


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "CMAF"])
def test_all_samples_are_found_at_their_times(form, codec):
    data = film(codec, form=form)
    ((_, samples),) = read(data).values()
    assert samples == packets(data, CODECS[codec])


def test_a_file_has_no_more_frames_than_bytes():
    """A fragment of 60 bytes may say that it has a million frames of no bytes."""
    run = written_box(b"trun", bytes(4), (1 << 20).to_bytes(4))
    track = written_box(b"traf", written_box(b"tfhd", b"\0\2\0\0", (1).to_bytes(4)), run)
    fragment = written_box(b"moof", track) + written_box(b"mdat")
    with pytest.raises(MediaError, match="more frames than bytes"):
        read(film("avc1", form="empty moov") + 100 * fragment)


@pytest.mark.parametrize("codec", ["avc1", "hvc1"])
def test_no_frame_is_shown_before_it_is_decoded_in_files_with_negative_offsets(codec):
    """libav shows them later by the reordering; as players do, we do not."""
    data = film(codec, form="CMAF")
    ((_, samples),) = read(data).values()
    theirs = packets(data, "video")
    assert samples[0][1] == 0
    assert {pts - their_pts for (_, pts, _, _), (_, their_pts, _, _) in zip(samples, theirs, strict=True)} == {
        -theirs[0][1]
    }
    assert all(dts <= pts for dts, pts, _, _ in samples)
    assert [each[2:] for each in samples] == [each[2:] for each in theirs]


@pytest.mark.parametrize("form", FORMS)
def test_both_tracks_of_a_film_are_found(form):
    found = read(film("avc1", "mp4a", form=form))
    video, audio = found["video"][0].format, found["audio"][0].format
    assert (video.config.codec, video.width, video.height, video.timescale) == ("avc1", WIDTH, HEIGHT, 90_000)
    assert (audio.config.codec, audio.channels, audio.timescale) == ("mp4a", 1, RATE)
    assert len(found["video"][1]) == 6 * FPS


@pytest.mark.parametrize("codec", CODECS)
def test_the_codecs_settings_are_those_that_the_encoder_gave(codec):
    data = film(codec)
    ((track, _),) = read(data).values()
    with av.open(io.BytesIO(data)) as container:
        record = container.streams[0].codec_context.extradata or b""
    assert (track.format.config.codec, track.format.config.record) == (codec, record)


@pytest.mark.parametrize("form", ["fragments", "empty moov", "indexed fragments", "CMAF"])
def test_a_torn_recording_ends_with_its_last_whole_fragment(form):
    data = film("avc1", "mp4a", form=form)
    whole = read(data)["video"][1]
    ends = [at + int.from_bytes(data[at : at + 4]) for at in mdats(data)]
    for at in range(ends[0], len(data), 1_999):
        count = sum(end <= at for end in ends)
        assert read(data[:at])["video"][1] == whole[: count * FPS]


def mdats(data):
    """Yield where each box of media begins."""
    at = 0
    while at < len(data):
        if data[at + 4 : at + 8] == b"mdat":
            yield at
        at += int.from_bytes(data[at : at + 4])


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_cut_off_before_anything_is_whole_is_refused(form):
    data = film("avc1", "mp4a", form=form)
    end = next(mdats(data))
    end += int.from_bytes(data[end : end + 4])
    for at in range(0, end - 1, 997):
        with pytest.raises(MediaError, match=r"^it is (cut off|not an MP4)|^no frame is in it"):
            read(data[:at])


@pytest.mark.parametrize("form", ["plain", "moov first"])
def test_a_plain_file_that_is_cut_off_anywhere_is_refused(form):
    data = film("avc1", "mp4a", form=form)
    for at in range(100, len(data), 997):
        with pytest.raises(MediaError, match=r"it is cut off, or still being written"):
            read(data[:at])


@pytest.mark.parametrize("data", [b"", b"\0\0", b"hello, world\n" * 1000, b"\x1aE\xdf\xa3" + bytes(5000)])
def test_what_is_no_mp4_is_refused_as_such(data):
    with pytest.raises(MediaError, match="it is not an MP4 file"):
        read(data)


def test_an_mkv_is_refused():
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="it is not an MP4 file"):
        read(file.getvalue())


@pytest.mark.parametrize(("codec", "reason"), [("mpeg4", "its video is mp4v"), ("ac3", "its audio is ac-3")])
def test_codecs_that_players_do_not_take_are_refused_by_name(codec, reason):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=25 if codec == "mpeg4" else RATE)
        if codec == "mpeg4":
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            frame = av.VideoFrame(64, 64, "yuv420p")
        else:
            frame = av.AudioFrame(format="fltp", layout="mono", samples=1536)
            frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=reason):
        read(file.getvalue())


def test_encrypted_video_is_refused_as_such():
    with pytest.raises(MediaError, match="its video is encrypted"):
        read(film("avc1").replace(b"avc1", b"encv"))


def test_a_film_of_several_pieces_is_refused():
    data = film("avc1")
    at = data.index(b"elst") + 4
    version, edit = data[at : at + 4], data[at + 8 : at + 20]
    with pytest.raises(MediaError, match="its edit list puts it together from several pieces"):
        read(rebuilt(data, b"elst", version + (2).to_bytes(4) + 2 * edit))


def test_a_pause_before_the_first_frame_is_kept():
    data = film("avc1")
    at = data.index(b"elst") + 4
    version, edit = data[at : at + 4], data[at + 8 : at + 20]
    pause = (1500).to_bytes(4) + b"\xff" * 4 + edit[8:]  # of 1000 ticks a second
    found = read(rebuilt(data, b"elst", version + (2).to_bytes(4) + pause + edit))
    assert found["video"][1][0][1] == Fraction(3, 2)


@pytest.mark.parametrize("form", ["plain", "fragments"])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_damage_is_refused_with_a_reason_and_does_no_harm(form, seed):
    """Only the tables are damaged: what is in a frame is the decoder's business."""
    data = bytearray(film("avc1", "mp4a", seconds=2, form=form))
    chance = random.Random(seed)
    tables = [at for kind in (b"moov", b"moof") for at in places(data, kind)]
    for _ in range(chance.choice((1, 1, 2, 8))):
        begin, end = chance.choice(tables)
        data[chance.randrange(begin, end)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    with suppress(MediaError):
        read(bytes(data))
