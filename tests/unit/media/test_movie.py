"""The box moov: tracks that can be served, their clocks, and their edit lists."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.frames import MediaError
from lb.media.movie import read_tracks
from lb.media.mp4_boxes import boxes, children, only_child, written_box


def full(kind, version, layout, *values):
    return written_box(kind, struct.pack(f">I{layout}", version << 24, *values))


def trak(handler=b"vide", entry=b"avc1", *, version=0, timescale=1000, number=1, edits=(), entries=1):
    """Return a track of two samples of 10 ticks."""
    long = version == 1
    stbl = (
        written_box(b"stsd", struct.pack(">II", 0, entries), written_box(entry, bytes(78)) * entries),
        full(b"stts", 0, "III", 1, 2, 10),
        full(b"stsz", 0, "IIII", 0, 2, 5, 6),
        full(b"stsc", 0, "IIII", 1, 1, 2, 1),
        full(b"stco", 0, "II", 1, 100),
    )
    mdhd = full(b"mdhd", version, "QQIQ" if long else "IIII", 0, 0, timescale, 20)
    hdlr = full(b"hdlr", 0, "I4s12x", 0, handler)
    elst = full(b"elst", version, f"I{('QqI' if long else 'IiI') * len(edits)}", len(edits), *sum(edits, ()))
    mdia = written_box(b"mdia", mdhd, hdlr, written_box(b"minf", written_box(b"stbl", *stbl)))
    tkhd = full(b"tkhd", version, "QQI" if long else "III", 0, 0, number)
    return written_box(b"trak", tkhd, *([written_box(b"edts", elst)] if edits else []), mdia)


def moov(*traks, version=0, timescale=600, more=b""):
    mvhd = full(b"mvhd", version, "QQI" if version else "III", 0, 0, timescale)
    return memoryview(mvhd + b"".join(traks) + more)


def edit(duration, time):
    return (duration, time, 0x10000)


@pytest.mark.parametrize("version", [0, 1])
def test_headers_of_both_versions_are_read(version):
    (track,) = read_tracks(moov(trak(version=version, number=3, edits=[edit(6, 4)]), version=version))
    assert (track.number, track.track, track.codec, track.timescale) == (3, "video", "avc1", 1000)
    assert (track.shift, track.end) == (-4, 10)
    assert [each.position for each in track.table.samples(0, 2)] == [100, 105]


def test_the_first_track_of_each_kind_is_taken():
    text, sound, video, other = trak(b"text"), trak(b"soun", b"mp4a", number=2), trak(number=3), trak(number=4)
    assert [each.number for each in read_tracks(moov(text, sound, video, other))] == [2, 3]


def test_a_track_that_players_take_is_served_though_another_is_not():
    assert [each.number for each in read_tracks(moov(trak(entry=b"jpeg"), trak(number=2)))] == [2]


@pytest.mark.parametrize(
    ("traks", "reason"),
    [
        ([], "there is neither video nor audio"),
        ([trak(b"text")], "there is neither video nor audio"),
        ([trak(), trak(b"soun", b"ac-3")], "its audio is ac-3; players of HLS and DASH take"),
        ([trak(entry=b"encv")], "its video is encrypted"),
        ([trak(entries=2)], "its codec's settings change within it"),
        ([trak(entries=0)], "its codec's settings change within it"),
        ([trak(timescale=0)], "a timescale of 0"),
        ([trak(edits=[edit(3, 0), edit(3, 10)])], "several pieces"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(traks, reason):
    with pytest.raises(MediaError, match=reason):
        read_tracks(moov(*traks))


def test_without_an_edit_list_samples_are_shown_at_their_times():
    (track,) = read_tracks(moov(trak()))
    assert (track.shift, track.end) == (0, None)


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 5000))
def test_an_edit_list_delays_and_trims(pause, time, duration):
    (track,) = read_tracks(moov(trak(edits=[edit(pause, -1), edit(duration, time)]), timescale=500))
    assert track.shift == 2 * pause - time
    assert track.end == 2 * (pause + duration)


def test_an_edit_list_without_duration_goes_to_the_end():
    (track,) = read_tracks(moov(trak(edits=[edit(0, 7)])))
    assert (track.shift, track.end) == (-7, None)


def test_the_end_that_a_fragmented_file_tells_is_that_of_its_first_samples():
    (track,) = read_tracks(moov(trak(edits=[edit(6, 4)]), more=written_box(b"mvex")))
    assert (track.shift, track.end) == (-4, None)


def test_the_header_is_a_movie_of_one_track_without_samples():
    (track,) = read_tracks(moov(trak(b"soun", b"mp4a"), trak(b"text"))[:])
    top = list(boxes(memoryview(track.header)))
    assert [box.kind for box in top] == [b"ftyp", b"moov"]
    movie = top[1].body
    assert len(list(children(movie, b"trak"))) == 1
    stbl = only_child(movie, b"trak", b"mdia", b"minf", b"stbl")
    assert int.from_bytes(only_child(stbl, b"stsz")[8:12]) == 0
    assert list(children(stbl, b"stsd"))
    assert not list(children(movie, b"trak", b"edts"))
    assert list(children(movie, b"mvex", b"trex"))
