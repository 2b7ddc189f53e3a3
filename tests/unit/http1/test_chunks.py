"""Chunked bodies: where they end, however they are split, and what is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.chunks import ChunkWalker
from lb.http1.grammar import MalformedError

TRAILER = 64


def walk(pieces):
    """Return the bytes that belong to the body, and whether it ended."""
    walker, taken = ChunkWalker(TRAILER), 0
    for piece in pieces:
        count = walker.walk(piece)
        taken += count
        if count < len(piece):
            assert walker.done
    return taken, walker.done


def split(data, cuts):
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="x y"'])
TRAILERS = st.lists(st.sampled_from([b"X: y\r\n", b"Digest:\r\n"]), max_size=3).map(b"".join)


def body(chunks, extension=b"", trailers=b"", form=b"%x"):
    return b"".join(form % len(chunk) + extension + b"\r\n" + chunk + b"\r\n" for chunk in chunks) + (
        b"0" + extension + b"\r\n" + trailers + b"\r\n"
    )


@given(CHUNKS, EXTENSIONS, TRAILERS, st.sampled_from([b"%x", b"%X", b"00%x"]), st.lists(st.integers(0), max_size=6))
def test_the_end_is_found_wherever_the_body_is_split(chunks, extension, trailers, form, cuts):
    data = body(chunks, extension, trailers, form)
    assert walk(split(data, cuts)) == (len(data), True)
    assert walk([data + b"GET / HTTP/1.1\r\n"]) == (len(data), True)


def test_the_end_is_found_when_each_byte_comes_alone():
    data = body([b"hello", b"0\r\n\r\n"], b";x", b"A: b\r\n")
    assert walk([data[at : at + 1] for at in range(len(data))]) == (len(data), True)


@given(CHUNKS, st.integers(1, 1000))
def test_a_body_that_is_cut_has_not_ended(chunks, at):
    data = body(chunks)
    assert not walk([data[: -min(at, len(data))]])[1]


def test_bytes_within_a_chunk_may_pass_elsewhere():
    walker = ChunkWalker(TRAILER)
    assert walker.walk(b"a\r\n123") == 6
    assert walker.left == 7
    walker.moved(7)
    assert walker.walk(b"\r\n0\r\n\r\n") == 7
    assert walker.done


REFUSED = {
    "no size": b"\r\n",
    "a sign": b"+1\r\na\r\n",
    "a prefix": b"0x1\r\na\r\n",
    "a space before the size": b" 1\r\na\r\n",
    "a space after the size": b"1 \r\na\r\n",
    "a space before an extension": b"1 ;a\r\na\r\n",
    "an underscore": b"1_0\r\n",
    "a size of 16 digits": b"0000000000000001\r\na\r\n",
    "a size that overflows": b"fffffffffffffffff\r\n",
    "a bare LF after the size": b"1\na\r\n",
    "a bare CR in an extension": b"1;a\rb\r\na\r\n",
    "a bare LF in an extension": b"1;a\nb\r\na\r\n",
    "a NUL in an extension": b"1;\0\r\na\r\n",
    "a chunk that is longer": b"1\r\nab\r\n",
    "a bare LF after the data": b"1\r\na\n0\r\n\r\n",
    "a long line without an end": b"1;" + b"a" * 5000,
    "extensions of more than 4 KiB": (b"1;" + b"a" * 2000 + b"\r\nx\r\n") * 3,
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "a trailer without a colon": b"0\r\nA\r\n\r\n",
    "a trailer with a NUL": b"0\r\nA: \0\r\n\r\n",
    "Content-Length as a trailer": b"0\r\nContent-Length: 1\r\n\r\n",
    "Transfer-Encoding as a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Host as a trailer": b"0\r\nHost: a\r\n\r\n",
    "trailers that are too long": b"0\r\n" + b"A: b\r\n" * 20 + b"\r\n",
    "a trailer without an end": b"0\r\nA: " + b"b" * 100,
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_body_that_could_be_read_in_two_ways_is_refused(name, step):
    data = REFUSED[name]
    with pytest.raises(MalformedError) as error:
        walk([data[at : at + step] for at in range(0, len(data), step)])
    assert error.value.status == (431 if "trailer" in name and ("long" in name or "end" in name) else 400)
