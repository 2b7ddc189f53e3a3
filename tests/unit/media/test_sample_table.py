"""Tables of samples: what is written in any form is read, and found by number and by time."""

from __future__ import annotations

import itertools
import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.frames import MediaError
from lb.media.mp4_boxes import written_box
from lb.media.sample_table import SampleTable, StoredSample, read_sample_table


def full_box(kind, *values, signed=False):
    return written_box(kind, struct.pack(f">{len(values) + 1}{'i' if signed else 'I'}", 0, *values))


def stbl(durations, offsets, sizes, chunks, keys, *, large=False):
    """Return the boxes of samples; ``chunks`` are pairs of how many samples lie together, and where."""
    runs = [(len(list(same)), duration) for duration, same in itertools.groupby(durations)]
    shown = [(len(list(same)), offset) for offset, same in itertools.groupby(offsets)]
    spans = [
        (number, count, 1)
        for number, (count, _) in enumerate(chunks, 1)
        if number == 1 or count != chunks[number - 2][0]
    ]
    positions = [position for _, position in chunks]
    where = (
        written_box(b"co64", struct.pack(f">II{len(chunks)}Q", 0, len(chunks), *positions))
        if large
        else full_box(b"stco", len(chunks), *positions)
    )
    return memoryview(
        full_box(b"stts", len(runs), *itertools.chain(*runs))
        + (full_box(b"ctts", len(shown), *itertools.chain(*shown), signed=True) if any(offsets) else b"")
        + full_box(b"stsz", 0, len(sizes), *sizes)
        + full_box(b"stsc", len(spans), *itertools.chain(*spans))
        + where
        + (b"" if all(keys) else full_box(b"stss", sum(keys), *(at for at, key in enumerate(keys, 1) if key)))
    )


@st.composite
def films(draw):
    """Draw samples, and what :func:`stbl` takes."""
    count = draw(st.integers(1, 60))
    durations = draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))
    offsets = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    sizes = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    keys = [True, *draw(st.lists(st.booleans(), min_size=count - 1, max_size=count - 1))]
    chunks, position, left = [], draw(st.integers(0, 50)), count
    while left:
        length = draw(st.integers(1, left))
        chunks.append((length, position))
        position += sum(sizes[count - left : count - left + length]) + draw(st.integers(0, 9))
        left -= length
    return durations, offsets, sizes, chunks, keys


def expected(durations, offsets, sizes, chunks, keys):
    numbers = itertools.count()
    dts = 0
    for length, position in chunks:
        at = position
        for number in itertools.islice(numbers, length):
            yield StoredSample(dts, dts + offsets[number], durations[number], keys[number], at, sizes[number])
            dts += durations[number]
            at += sizes[number]


def read(*film, **how):
    table = read_sample_table(stbl(*film, **how), video=True)
    table.finish()
    return table


@given(films(), st.booleans())
def test_all_samples_are_read(film, large):
    table = read(*film, large=large)
    samples = list(expected(*film))
    assert list(table.samples(0, table.count)) == samples
    assert table.end == samples[-1].dts + samples[-1].duration
    assert table.file_end() == max(each.position + each.size for each in samples)


@given(films(), st.data())
def test_any_stretch_of_samples_is_found(film, data):
    table = read(*film)
    first = data.draw(st.integers(0, table.count - 1))
    end = data.draw(st.integers(first + 1, table.count))
    samples = list(expected(*film))
    assert list(table.samples(first, end)) == samples[first:end]
    assert (table.dts(first), table.pts(first), table.is_key(first)) == samples[first][:2] + samples[first][3:4]


@given(films(), st.integers(-3, 300))
def test_the_first_sample_at_a_time_is_found(film, time):
    table = read(*film)
    late = [number for number, each in enumerate(expected(*film)) if each.dts >= time]
    assert table.first_at(time) == min(late, default=table.count)


@given(films(), st.integers(1, 9))
def test_what_is_shown_before_it_is_decoded_is_decoded_earlier(film, earlier):
    durations, offsets, *rest = film
    table = read(durations, [offset - earlier for offset in offsets], *rest)
    plain = read(*film)
    most = max(0, earlier - min(offsets))
    for number in range(table.count):
        assert table.pts(number) == plain.pts(number) - earlier
        assert table.dts(number) == plain.dts(number) - most
        assert table.dts(number) <= table.pts(number)


def test_samples_of_one_size_need_no_table_of_sizes():
    boxes = full_box(b"stts", 1, 3, 10) + full_box(b"stsz", 7, 3) + full_box(b"stsc", 1, 1, 3, 1)
    table = read_sample_table(memoryview(boxes + full_box(b"stco", 1, 100)), video=False)
    assert [(each.position, each.size) for each in table.samples(0, 3)] == [(100, 7), (107, 7), (114, 7)]


def test_the_last_sample_lasts_as_long_as_the_one_before_if_the_writer_did_not_know():
    table = SampleTable(array("I", [1, 1]), run_starts=array("I", [0, 1]), run_times=array("q", [0, 10]))
    table.run_durations = array("I", [10, 0])
    table.finish()
    assert table.end == 20


def one(**others):
    """Return the boxes of one sample, with others in place of some."""
    usual = {
        b"stts": full_box(b"stts", 1, 1, 10),
        b"stsz": full_box(b"stsz", 0, 1, 5),
        b"stsc": full_box(b"stsc", 1, 1, 1, 1),
        b"stco": full_box(b"stco", 1, 100),
    }
    return memoryview(b"".join((usual | {kind.encode(): box for kind, box in others.items()}).values()))


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"stts": b""}, "no box stts"),
        ({"stts": full_box(b"stts", 2, 1, 10)}, "stts is too short"),
        ({"stts": full_box(b"stts", 0)}, "does not hold the times of all samples"),
        ({"stts": full_box(b"stts", 1, 1, 1 << 31)}, "does not hold the times"),
        ({"stsz": full_box(b"stsz", 0, 2, 5)}, "stsz is too short"),
        ({"stsz": full_box(b"stsz", 5, 1 << 31)}, "stsz is too short"),
        ({"stsc": full_box(b"stsc", 1, 1, 0, 1)}, "does not hold all samples"),
        ({"stsc": full_box(b"stsc", 1, 2, 1, 1)}, "does not hold all samples|goes back"),
        ({"stsc": full_box(b"stsc", 2, 3, 1, 1, 1, 1, 1)}, "goes back"),
        ({"stco": full_box(b"stco", 0)}, "stsc"),
    ],
)
def test_damaged_tables_are_refused(others, reason):
    with pytest.raises(MediaError, match=reason):
        read_sample_table(one(**others), video=True)


def test_samples_without_length_are_refused():
    table = read_sample_table(one(stts=full_box(b"stts", 1, 1, 0)), video=True)
    with pytest.raises(MediaError, match="two samples have the same time"):
        table.finish()


def test_times_that_go_back_are_refused():
    table = SampleTable(array("I", [1, 1]), run_starts=array("I", [0, 1]), run_times=array("q", [10, 5]))
    table.run_durations = array("I", [10, 10])
    with pytest.raises(MediaError, match="its times go back"):
        table.finish()
