"""Ranges: RFC 9110, section 14."""

import email

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.conditions import Validators
from lb.http1.field_block import FieldBlocks
from lb.http1.ranges import ByteRange, content_range, multipart, parse_range, requested_ranges, unsatisfied

STATE = Validators(b'"v1"', 1000)

CASES = {
    "the first byte": (b"bytes=0-0", ((0, 1),)),
    "the begin": (b"bytes=0-499", ((0, 500),)),
    "a range in the middle": (b"bytes=500-999", ((500, 500),)),
    "an open range": (b"bytes=9500-", ((9500, 500),)),
    "a suffix": (b"bytes=-500", ((9500, 500),)),
    "a suffix longer than all": (b"bytes=-99999", ((0, 10000),)),
    "an end beyond the end": (b"bytes=9999-10000", ((9999, 1),)),
    "the first and the last": (b"bytes=0-0,-1", ((0, 1), (9999, 1))),
    "spaces and empty members": (b"bytes= 0-0 ,, 2-3,", ((0, 1), (2, 2))),
    "not in order": (b"bytes=500-599,0-9", ((500, 100), (0, 10))),
    "only what can be satisfied": (b"bytes=0-0,10000-", ((0, 1),)),
    "capitals": (b"BYTES=0-0", ((0, 1),)),
    "behind the end": (b"bytes=10000-", ()),
    "an empty suffix": (b"bytes=-0", ()),
    "another unit": (b"pages=0-0", None),
    "no unit": (b"0-0", None),
    "nothing": (b"bytes=", None),
    "only commas": (b"bytes=,,", None),
    "a dash": (b"bytes=-", None),
    "the end before the begin": (b"bytes=5-4", None),
    "one of them malformed": (b"bytes=0-0,5-4", None),
    "a sign": (b"bytes=+1-2", None),
    "letters": (b"bytes=a-b", None),
    "a space within": (b"bytes=0 -1", None),
    "21 digits": (b"bytes=0-" + b"9" * 21, None),
    "16 ranges": (b"bytes=" + b",".join(b"%d-%d" % (at, at) for at in range(16)), tuple((at, 1) for at in range(16))),
    "17 ranges": (b"bytes=" + b",".join(b"%d-%d" % (at, at) for at in range(17)), None),
    "twice the whole (CVE-2011-3192)": (b"bytes=0-,0-", None),
    "many overlapping suffixes": (b"bytes=" + b",".join(b"-%d" % (9000 + at) for at in range(16)), None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_range_asks_for(case):
    value, ranges = CASES[case]
    assert parse_range(value, 10000) == ranges


@pytest.mark.parametrize("value", [b"bytes=0-", b"bytes=0-0", b"bytes=-1"])
def test_of_an_empty_file_a_range_is_all(value):
    assert parse_range(value, 0) is None


RANGES = st.one_of(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))),
    st.tuples(st.integers(0, 60), st.none()),
    st.tuples(st.none(), st.integers(0, 60)),
)


def naive(data, first, last):
    if first is None:
        return data[len(data) - min(last, len(data)) :]
    return data[first:] if last is None else data[first : last + 1]


@given(st.integers(0, 50), st.lists(RANGES, min_size=1, max_size=20))
def test_ranges_are_what_slices_are(size, asked):
    data = bytes(range(size))
    number = {None: ""}
    value = ",".join(f"{number.get(first, first)}-{number.get(last, last)}" for first, last in asked)
    wanted = [piece for piece in (naive(data, *each) for each in asked) if piece]
    ranges = parse_range(f"bytes={value}".encode(), size)
    if not size or len(asked) > 16 or sum(map(len, wanted)) > size:
        assert ranges is None
    else:
        assert [data[part.offset : part.offset + part.length] for part in ranges] == wanted


@given(st.text(st.sampled_from("bytes=0123456789-, "), max_size=30), st.integers(0, 100))
def test_what_is_given_is_never_more_than_the_whole(text, size):
    ranges = parse_range(b"bytes=" + text.encode(), size)
    assert ranges is None or sum(part.length for part in ranges) <= size
    assert ranges is None or all(0 <= part.offset < part.offset + part.length <= size for part in ranges)


def block(*lines):
    return FieldBlocks().read(b"".join(line + b"\r\n" for line in lines))


def test_range_is_for_get_alone():
    asks = block(b"Range: bytes=0-0")
    assert requested_ranges(b"GET", asks, STATE, 10, 0) == (ByteRange(0, 1),)
    assert requested_ranges(b"HEAD", asks, STATE, 10, 0) is None
    assert requested_ranges(b"GET", block(b"Accept: a"), STATE, 10, 0) is None


def test_two_range_fields_are_ignored():
    assert requested_ranges(b"GET", block(b"Range: bytes=0-0", b"Range: bytes=1-1"), STATE, 10, 0) is None


def test_a_range_of_another_state_is_ignored():
    assert requested_ranges(b"GET", block(b"Range: bytes=0-0", b'If-Range: "v0"'), STATE, 10, 0) is None
    assert requested_ranges(b"GET", block(b"Range: bytes=0-0", b'If-Range: "v1"'), STATE, 10, 0) is not None


def test_content_range():
    assert content_range(ByteRange(0, 500), 1234) == b"bytes 0-499/1234"
    assert unsatisfied(1234) == b"bytes */1234"


@given(st.binary(min_size=4, max_size=60), st.data())
def test_a_multipart_body_is_read_back(data, choose):
    places = choose.draw(st.lists(st.integers(0, len(data) - 1), min_size=2, max_size=5))
    ranges = [ByteRange(at, choose.draw(st.integers(1, len(data) - at))) for at in places]
    parts = multipart(ranges, len(data), b"application/octet-stream", b"Zq3x")
    body = b"".join(
        head + data[part.offset : part.offset + part.length] for head, part in zip(parts.heads, ranges, strict=True)
    )
    pieces = (body + parts.end).split(b"--Zq3x")
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    for piece, part in zip(pieces[1:-1], ranges, strict=True):
        head, _, content = piece.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        fields = email.message_from_bytes(head)
        assert fields["Content-Range"].encode() == content_range(part, len(data))
        assert fields["Content-Type"] == "application/octet-stream"
        assert content == data[part.offset : part.offset + part.length]
    assert parts.content_type == b"multipart/byteranges; boundary=Zq3x"
