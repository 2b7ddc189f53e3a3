"""Fragments of other writers than libav: there are many ways to say where samples lie, and how long they last."""

from __future__ import annotations

import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.frames import MediaError
from lb.media.movie_fragments import SampleDefaults, add_fragment, read_sample_defaults
from lb.media.mp4_boxes import written_box
from lb.media.sample_table import SampleTable

KEY, OTHER = 0x2000000, 0x1010000
"""Flags of samples."""
AT = 1000
"""Where fragments begin in the file."""


def box(kind, flags, *values, version=0):
    body = struct.pack(">I", version << 24 | flags) + b"".join(
        value if isinstance(value, bytes) else struct.pack(">I", value & 0xFFFFFFFF) for value in values
    )
    return written_box(kind, body)


def moof(*trafs):
    return memoryview(b"".join(written_box(b"traf", *boxes) for boxes in trafs))


def video():
    return SampleTable(keys=array("I"))


def read(table, *trafs, defaults=None, at=AT):
    end = add_fragment(moof(*trafs), at, {1: table}, {1: defaults or SampleDefaults()})
    return list(table.samples(0, table.count)), end


def tfdt(time, *, version=0):
    return box(b"tfdt", 0, time.to_bytes(8 if version else 4), version=version)


def test_defaults_of_the_movie_hold_where_a_fragment_says_nothing():
    trex = box(b"trex", 0, 1, 1, 10, 5, KEY)
    moov = memoryview(written_box(b"mvex", trex))
    assert read_sample_defaults(moov) == {1: SampleDefaults(10, 5, KEY)}
    samples, end = read(
        video(), (box(b"tfhd", 0x20000, 1), tfdt(100), box(b"trun", 1, 2, 64)), defaults=read_sample_defaults(moov)[1]
    )
    assert samples == [(100, 100, 10, True, AT + 64, 5), (110, 110, 10, True, AT + 69, 5)]
    assert end == AT + 74


def test_a_plain_movie_has_no_defaults():
    assert read_sample_defaults(memoryview(written_box(b"mvhd", b""))) == {}


def test_defaults_of_the_fragment_come_first():
    tfhd = box(b"tfhd", 0x2003A, 1, 1, 20, 7, OTHER)
    samples, _ = read(video(), (tfhd, tfdt(0), box(b"trun", 1, 1, 8)), defaults=SampleDefaults(10, 5, KEY))
    assert samples == [(0, 0, 20, False, AT + 8, 7)]


def test_the_first_sample_of_a_run_can_be_a_key_frame_alone():
    tfhd = box(b"tfhd", 0x20038, 1, 10, 5, OTHER)
    samples, _ = read(video(), (tfhd, tfdt(0), box(b"trun", 5, 3, 8, KEY)))
    assert [each.key for each in samples] == [True, False, False]


def test_positions_can_be_counted_from_anywhere_in_the_file():
    tfhd = box(b"tfhd", 0x19, 1, (1 << 33).to_bytes(8), 10, 5)
    samples, end = read(video(), (tfhd, tfdt(0), box(b"trun", 1, 1, -4)))
    assert samples[0].position == (1 << 33) - 4
    assert end == (1 << 33) + 1


def test_runs_follow_each_other_where_nothing_is_said():
    tfhd = box(b"tfhd", 0x20018, 1, 10, 5)
    samples, _ = read(video(), (tfhd, tfdt(0), box(b"trun", 1, 2, 8), box(b"trun", 0, 1)))
    assert [each.position for each in samples] == [AT + 8, AT + 13, AT + 18]
    assert [each.dts for each in samples] == [0, 10, 20]


def test_tracks_follow_each_other_as_files_of_old_have_it():
    first = (box(b"tfhd", 0x18, 2, 10, 5), tfdt(0), box(b"trun", 1, 2, 8))
    second = (box(b"tfhd", 0x18, 1, 10, 5), tfdt(0), box(b"trun", 0, 1))
    samples, _ = read(video(), first, second)
    assert [each.position for each in samples] == [AT + 18]


def test_a_fragment_without_a_time_goes_on_where_the_one_before_ended():
    table = video()
    traf = (box(b"tfhd", 0x20018, 1, 10, 5), box(b"trun", 1, 2, 8))
    read(table, traf)
    samples, _ = read(table, traf, at=AT + 500)
    assert [each.dts for each in samples] == [0, 10, 20, 30]
    assert samples[2].position == AT + 508


def test_times_may_be_long():
    samples, _ = read(video(), (box(b"tfhd", 0x20018, 1, 10, 5), tfdt(1 << 40, version=1), box(b"trun", 1, 1, 8)))
    assert samples[0].dts == 1 << 40


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(0, 20)), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_said_of_each_sample_is_read(fragments):
    table, expected, dts, at = video(), [], 0, AT
    for number, samples in enumerate(fragments):
        rows = [(length, size, KEY if key else OTHER, offset) for length, size, key, offset in samples]
        run = box(b"trun", 0xF01, len(rows), 64, *(value for row in rows for value in row), version=1)
        read(table, (box(b"tfhd", 0x20000, 1), tfdt(dts), run), at=at)
        position = at + 64
        for length, size, key, offset in samples:
            expected.append((dts, dts + offset, length, key, position, size))
            dts += length
            position += size
        at += 10_000 * (number + 1)
    assert list(table.samples(0, table.count)) == expected


@pytest.mark.parametrize(
    "boxes",
    [
        (box(b"trun", 1, 1, 8),),
        (box(b"tfhd", 0x20018, 1, 10, 5), box(b"trun", 0x201, 3, 8, 5)),
        (box(b"tfhd", 0x20018, 1, 10, 5), box(b"trun", 1, 1 << 31, 8)),
        (box(b"tfhd", 0x20018), box(b"trun", 1, 1, 8)),
        (box(b"tfhd", 0x20018, 1, 10, 5), box(b"trun", 1)),
    ],
)
def test_damaged_fragments_are_refused(boxes):
    with pytest.raises(MediaError, match="it is damaged"):
        read(video(), boxes)


def test_few_bytes_cannot_be_a_million_samples_again_and_again():
    runs = [box(b"trun", 0, 1 << 19)] * 3
    with pytest.raises(MediaError, match="more than a million"):
        read(video(), (box(b"tfhd", 0, 1), *runs))


def test_tracks_that_are_not_served_are_left_out():
    table = video()
    add_fragment(moof((box(b"tfhd", 0x20018, 7, 10, 5), box(b"trun", 1, 2, 8))), AT, {1: table}, {})
    assert table.count == 0
