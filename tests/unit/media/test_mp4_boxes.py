"""Boxes of MP4 files, whole and damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.frames import MediaError
from lb.media.mp4_boxes import box_header, boxes, children, numbers, only_child, written_box

kinds = st.binary(min_size=4, max_size=4)


@given(st.lists(st.tuples(kinds, st.binary(max_size=40)), max_size=5))
def test_boxes_that_are_written_are_read(content):
    data = b"".join(written_box(kind, body) for kind, body in content)
    assert [(box.kind, bytes(box.body)) for box in boxes(memoryview(data))] == content


def test_a_box_with_a_large_size_is_read():
    data = (1).to_bytes(4) + b"mdat" + (20).to_bytes(8) + b"body"
    assert [(box.kind, bytes(box.body)) for box in boxes(memoryview(data))] == [(b"mdat", b"body")]


def test_a_box_without_a_size_goes_to_the_end():
    data = written_box(b"free") + bytes(4) + b"mdatbody"
    assert [(box.kind, bytes(box.body)) for box in boxes(memoryview(data))] == [(b"free", b""), (b"mdat", b"body")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\x08fre", "no room for its header"),
        (b"\0\0\0\x01free\0\0\0\0", "no room for its header"),
        (b"\0\0\0\x07free", "says that it has 7 bytes"),
        (b"\0\0\0\x01free\0\0\0\0\0\0\0\x0f", "says that it has 15 bytes"),
        (b"\0\0\0\x09free", "is longer than what holds it"),
    ],
)
def test_damaged_boxes_are_refused(data, reason):
    with pytest.raises(MediaError, match=reason):
        list(boxes(memoryview(data)))


def test_the_header_tells_kind_and_lengths():
    assert box_header(b"\0\0\0\x10moov", 100) == (b"moov", 8, 16)
    assert box_header(b"\0\0\0\x00mdat", 100) == (b"mdat", 8, 100)
    assert box_header(b"\0\0\0\x01mdat" + (1 << 40).to_bytes(8), 100) == (b"mdat", 16, 1 << 40)


def test_children_are_found_along_a_path():
    tree = written_box(b"aaaa", *(written_box(b"bbbb", written_box(b"cccc", bytes([n]))) for n in range(3)))
    view = memoryview(tree + written_box(b"bbbb"))
    assert [bytes(body) for body in children(view, b"aaaa", b"bbbb", b"cccc")] == [b"\0", b"\1", b"\2"]
    assert bytes(only_child(view, b"aaaa", b"bbbb", b"cccc")) == b"\0"
    with pytest.raises(MediaError, match="there is no box dddd"):
        only_child(view, b"aaaa", b"dddd")


@given(st.lists(st.integers(-(2**31), 2**31 - 1)), st.binary(max_size=3))
def test_tables_are_read_up_to_the_last_whole_number(values, rest):
    data = b"".join(value.to_bytes(4, signed=True) for value in values)
    assert numbers(memoryview(data + rest), "i").tolist() == values
