"""Bodies that are compressed on their way: from any framing into chunks."""

import itertools
import zlib

import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.http.compressed_body import CompressedCoding
from lb.http.encoders import QUICK_TOTAL, Encoder
from lb.http1.coding import PlainCoding, chunk

LINE = b"a line that comes again and again\n"


def fail(*_):
    raise AssertionError("a thread for a quick piece")


def coding(*, chunked=False, spawn=fail, resume=fail):
    return CompressedCoding(Encoder(b"gzip", spawn), resume, decodes=chunked, encodes=True)


def decoded(sent):
    """Return the body that a client reads. The chunks, and the compressed body in them, must be complete."""
    assert sent.endswith(b"\r\n0\r\n\r\n")
    return zlib.decompress(PlainCoding().feed(sent), 16 + zlib.MAX_WBITS)


@given(st.lists(st.binary(max_size=50), max_size=8), st.booleans(), st.lists(st.integers(0, 600), max_size=6))
def test_a_client_reads_the_same_body(pieces, chunked, cuts):
    framed = b"".join(map(chunk, pieces)) + b"0\r\n\r\n" if chunked else b"".join(pieces)
    places = [0, *sorted(min(cut, len(framed)) for cut in cuts), len(framed)]
    body = coding(chunked=chunked)
    sent = b"".join(body.feed(framed[start:end]) for start, end in itertools.pairwise(places))
    assert decoded(sent + body.finish()) == b"".join(pieces)


def test_each_event_of_a_stream_is_a_chunk_of_its_own():
    body, client = coding(chunked=True), zlib.decompressobj(16 + zlib.MAX_WBITS)
    for number in range(5):
        event = b"data: %d\n\n" % number
        assert client.decompress(PlainCoding().feed(body.feed(chunk(event)))) == event


def test_the_framing_of_a_chunk_that_goes_on_sends_nothing():
    assert coding(chunked=True).feed(b"5\r\n") == b""


async def test_a_long_piece_goes_on_when_the_thread_is_done(nursery):
    out, done = [], trio.Event()

    def resume(data):
        assert not body.paused
        out.append(data)
        done.set()

    body = coding(spawn=nursery.start_soon, resume=resume)
    data = LINE * 5000
    assert len(data) > QUICK_TOTAL
    assert body.feed(data) == b""
    assert body.paused
    await done.wait()
    assert decoded(out[0] + body.feed(LINE) + body.finish()) == data + LINE
