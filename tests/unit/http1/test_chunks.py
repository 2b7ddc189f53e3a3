"""Chunked bodies: where they end, however they are split, and what is refused."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.chunks import ChunkWalker
from lb.http1.grammar import MalformedError
from lb.http1.response_head import ResponseHeads
from tests.support.http_attacks import BODIES_REFUSED, BODIES_TAKEN

TRAILER = 64


def walk(pieces, limit=TRAILER):
    """Return the bytes that belong to the body, and whether it ended."""
    walker, taken = ChunkWalker(limit), 0
    for piece in pieces:
        count = walker.walk(piece)
        taken += count
        if count < len(piece):
            assert walker.done
    return taken, walker.done


def split(data, cuts):
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


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


@given(CHUNKS, EXTENSIONS, TRAILERS, st.lists(st.integers(0), max_size=6))
def test_the_data_is_what_the_chunks_hold(chunks, extension, trailers, cuts):
    payload = []
    walker = ChunkWalker(TRAILER, payload.append)
    for piece in split(body(chunks, extension, trailers), cuts):
        walker.walk(piece)
    assert b"".join(payload) == b"".join(chunks)
    assert walker.size == sum(map(len, chunks))


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


@pytest.mark.parametrize("name", BODIES_REFUSED)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 100_000])
def test_a_body_that_could_be_read_in_two_ways_is_refused(name, step):
    data = BODIES_REFUSED[name]
    with pytest.raises(MalformedError) as error:
        walk([data[at : at + step] for at in range(0, len(data), step)], limit=32 * 1024)
    assert error.value.status == (431 if name == "trailers that are too many" else 400)


@pytest.mark.parametrize("name", BODIES_TAKEN)
def test_a_body_with_one_reading_is_taken_however_it_is_split_and_means_what_h11_says(name):
    data = BODIES_TAKEN[name]
    theirs, trailers = read_by_h11(data)
    for cut in range(len(data)):
        payload = []
        walker = ChunkWalker(TRAILER, payload.append)
        assert walker.walk(data[:cut]) == cut
        assert walker.walk(data[cut:] + b"more") == len(data) - cut
        assert walker.done
        assert (b"".join(payload), walker.size) == (theirs, len(theirs))
        assert [(field.name, field.value) for field in walker.trailers] == trailers


def read_by_h11(data):
    """Return data and trailers of a body."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    connection.next_event()
    payload = []
    while isinstance(event := connection.next_event(), h11.Data):
        payload.append(event.data)
    return b"".join(payload), [*event.headers]


LONG_LINES = {
    "a long line without an end": (b"1;" + b"a" * 5000, 400),
    "a size of 16 digits without an end": (b"0000000000000001", 400),
    "a letter where the data ends, without an end": (b"1\r\nab", 400),
    "trailers that are too long": (b"0\r\n" + b"A: b\r\n" * 20 + b"\r\n", 431),
    "a trailer without an end": (b"0\r\nA: " + b"b" * 100, 431),
}


@pytest.mark.parametrize("name", LONG_LINES)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_nobody_waits_for_the_end_of_a_line_that_cannot_be_valid(name, step):
    data, status = LONG_LINES[name]
    with pytest.raises(MalformedError) as error:
        walk([data[at : at + step] for at in range(0, len(data), step)])
    assert error.value.status == status


def test_a_trailer_counts_against_the_limit_wherever_it_is_split():
    data = b"0\r\n" + b"A: " + b"b" * (TRAILER - 5) + b"\r\n\r\n"
    assert walk([data]) == walk([data[at : at + 1] for at in range(len(data))]) == (len(data), True)


def test_a_body_of_more_than_its_limit_ends_where_the_chunk_begins_that_is_too_much():
    walker = ChunkWalker(TRAILER, max_size=10)
    assert walker.walk(b"5\r\nhello\r\n5\r\nhello\r\n") == 20
    with pytest.raises(MalformedError) as error:
        walker.walk(b"1\r\n")
    assert error.value.status == 413


@given(CHUNKS, EXTENSIONS, TRAILERS, st.binary(max_size=3), st.sampled_from([b"200 OK", b"204 No Content"]))
def test_a_body_counts_as_whole_only_if_it_is_all_there_and_nothing_else(chunks, extension, trailers, behind, status):
    head = ResponseHeads().read(b"HTTP/1.1 %s\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
    data = body(chunks, extension, trailers)
    whole = head.is_whole_in_chunks(memoryview(data), TRAILER)
    assert not whole or status == b"200 OK"
    assert whole or status != b"200 OK" or trailers or extension
    assert not head.is_whole_in_chunks(memoryview(data + behind), TRAILER) or not behind
    assert not any(head.is_whole_in_chunks(memoryview(data[:size]), TRAILER) for size in range(len(data)))


def test_a_body_that_is_not_chunked_or_malformed_is_not_whole_in_chunks():
    chunked, plain = (
        ResponseHeads().read(b"HTTP/1.1 200 OK\r\n%s\r\n" % line)
        for line in (b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n")
    )
    assert not plain.is_whole_in_chunks(memoryview(b"0\r\n\r\n"), TRAILER)
    assert not chunked.is_whole_in_chunks(memoryview(b"x\r\n0\r\n\r\n"), TRAILER)
