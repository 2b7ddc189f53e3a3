"""The format of stored objects: what was written is read, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.object_file import BLOCK, MAX_HEAD, ObjectInfo, ObjectLayout, charge, is_ours, read_info, slot_write

DIGEST = bytes(range(32))
small = st.binary(max_size=700)


def written(head=b"head", key=b"key", tags=(b"a", b""), length=5):
    return ObjectLayout.of(DIGEST, head, key, tags).before_body(length)


def overwritten(data, write):
    offset, new = write
    return data[:offset] + new + data[offset + len(new) :]


@given(small, small, st.lists(small, max_size=4), st.integers(0, 1 << 62))
def test_what_was_written_is_read(head, key, tags, length):
    layout = ObjectLayout.of(DIGEST, head, key, tuple(tags))
    info = read_info(layout.before_body(length))
    assert isinstance(info, ObjectInfo)
    assert (info.digest, info.key, info.tags, info.head, info.length) == (DIGEST, key, tuple(tags), head, length)
    assert info.body_at == layout.body_at == len(layout.before_body(length))


def test_a_file_without_its_length_is_not_read():
    layout = ObjectLayout.of(DIGEST, b"head", b"key")
    begin = layout.before_body()
    assert read_info(begin) is None
    assert read_info(overwritten(begin, (0, layout.prefix(7)))).length == 7


@given(st.data())
def test_a_flipped_bit_is_never_read_as_something_else(data):
    begin = written()
    position = data.draw(st.integers(0, 8 * len(begin) - 1))
    flipped = bytearray(begin)
    flipped[position // 8] ^= 1 << position % 8
    info = read_info(bytes(flipped))
    assert not isinstance(info, ObjectInfo) or info == read_info(begin)


@given(st.integers(0, 2000))
def test_a_file_that_was_cut_short_is_not_read(length):
    begin = written(head=b"h" * 500)
    info = read_info(begin[:length])
    if isinstance(info, ObjectInfo):
        assert length >= len(begin)
    elif info is not None:
        assert length < info == len(begin)


@given(st.lists(st.binary(max_size=250), min_size=1, max_size=5))
def test_the_newest_head_is_read(heads):
    data = written()
    for head in heads:
        data = overwritten(data, slot_write(read_info(data), head))
        assert read_info(data).head == head
    assert read_info(data).key == b"key"


@given(st.binary(max_size=250), st.binary(max_size=250), st.data())
def test_a_torn_head_leaves_the_one_before(first, second, data):
    before = overwritten(written(), slot_write(read_info(written()), first))
    offset, new = slot_write(read_info(before), second)
    torn = overwritten(before, (offset, new[: data.draw(st.integers(0, len(new)))]))
    assert read_info(torn).head in {first, second}
    again = overwritten(torn, slot_write(read_info(torn), b"third"))
    assert read_info(again).head == b"third"


def test_a_head_that_is_too_long_for_its_slot_is_not_written():
    info = read_info(written(head=b"h" * 100))
    assert slot_write(info, b"h" * info.slot_size) is not None
    assert slot_write(info, b"h" * (info.slot_size + 1)) is None
    assert info.slot_size >= 200, "a revalidated head may be longer"


def test_what_is_larger_than_any_head_is_refused():
    assert ObjectLayout.of(DIGEST, b"h" * (MAX_HEAD // 2), b"") is None
    assert ObjectLayout.of(DIGEST, b"", b"k" * MAX_HEAD) is None
    layout = ObjectLayout.of(DIGEST, b"", b"k" * 10_000)
    assert read_info(layout.before_body(1)[:4096]) == layout.body_at


@pytest.mark.parametrize(
    ("begin", "ours"),
    [(written(), True), (b"trio-lb\x07 a later version", True), (b"", True), (b"tri", True), (b"text", False)],
)
def test_files_of_others_are_told_apart(begin, ours):
    assert is_ours(begin) is ours


def test_a_charge_covers_whole_blocks_the_name_and_the_list_of_blocks():
    assert charge(0) < BLOCK
    assert 0 < charge(1) - BLOCK < 256
    assert charge(BLOCK) == charge(1)
    assert charge(256 * BLOCK) - charge(255 * BLOCK) == 2 * BLOCK
