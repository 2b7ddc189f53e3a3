"""The bytes of heads: where one ends however it comes, what is refused before its end, and what it costs."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.grammar import MalformedError
from lb.http1.head_buffer import HeadBuffer

HEAD = b"GET / HTTP/1.1\r\nHost: a.example\r\nX: y\r\n\r\n"


def status_of(pieces, longest=200):
    """Return the status with which the buffer refuses the pieces, and the number of the piece."""
    buffer = HeadBuffer(longest)
    for number, piece in enumerate(pieces):
        buffer.feed(piece)
        try:
            assert buffer.take_head() is None
        except MalformedError as error:
            return error.status, number
    return None, len(pieces)


@given(st.integers(1, len(HEAD)), st.binary(max_size=20), st.sampled_from([b"", b"\r\n"]))
def test_a_head_is_found_when_it_is_whole_and_the_rest_stays(step, rest, before):
    buffer, data, heads = HeadBuffer(200), before + HEAD, []
    for at in range(0, len(data), step):
        buffer.feed(data[at : at + step])
        assert len(buffer) <= at + step
        heads.append(buffer.take_head())
    assert heads[-1] == HEAD
    assert set(heads[:-1]) <= {None}
    buffer.feed(rest)
    assert buffer.take_all() == rest
    assert len(buffer) == 0


def test_several_heads_at_once_are_taken_one_by_one():
    buffer = HeadBuffer(200)
    buffer.feed(HEAD + HEAD + b"\r\n" + HEAD + HEAD[:7])
    assert [buffer.take_head() for _ in range(4)] == [HEAD, HEAD, HEAD, None]
    buffer.feed(HEAD[7:])
    assert buffer.take_head() == HEAD


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET / HTTP/1.1\nHost"],
        [b"GET / HTTP/1.1", b"\nH"],
        [b"GET / HTTP/1.1\r", b"H"],
        [b"GET / HTTP/1.1\r\r"],
        [b"GET / HTTP/1.1\r\nHost: a\rb"],
        [b"GET / HTTP/1.1\r\n", b"\n"],
        [b"\n"],
        [b"\r", b"G"],
        [b"\r\n\r"],
        [b"\r", b"\n", b"\r"],
        [b" GET"],
        [b"\x16\x03\x01"],
        [b"\r\n", b"\x80"],
    ],
)
def test_a_line_that_cannot_be_valid_is_refused_at_once(pieces):
    assert status_of(pieces) == (400, len(pieces) - 1)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 200, 414),
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 200, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 40 + b"\r\n", 431),
    ],
)
@pytest.mark.parametrize("step", [1, 50, 1000])
def test_a_head_that_is_too_long_is_refused_before_more_is_kept(data, status, step):
    refused = status_of([data[at : at + step] for at in range(0, len(data), step)])
    assert refused == (status, 200 // step)


def test_a_head_of_exactly_the_limit_is_taken():
    buffer = HeadBuffer(len(HEAD))
    buffer.feed(HEAD)
    assert buffer.take_head() == HEAD


def test_a_slow_head_holds_little_more_than_what_came():
    buffer = HeadBuffer(32 * 1024)
    for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 500:
        buffer.feed(bytes([byte]))
        assert buffer.take_head() is None
    assert sys.getsizeof(buffer) + sys.getsizeof(buffer._data) < 800
