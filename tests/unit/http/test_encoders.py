"""Encoders: what comes in goes out, at once, and a decoder gets the same bytes."""

import threading
import zlib

import brotli
import pytest
import trio
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from lb.http.compression import CODINGS
from lb.http.encoders import MAX_THREADS, QUICK_PIECE, QUICK_TOTAL, Encoder

TEXT = b"".join(b"<li class='item'>line %d of many</li>\n" % number for number in range(10_000))


def no_spawn(*_):
    raise AssertionError("a thread for a quick piece")


def decoder(coding):
    """Return a function that decodes the next bytes of a stream."""
    if coding == b"gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress
    if coding == b"br":
        return brotli.Decompressor().process
    return zstandard.ZstdDecompressor().decompressobj().decompress


@pytest.fixture(params=CODINGS, ids=bytes.decode)
def coding(request):
    return request.param


def test_each_piece_arrives_before_the_next_one_is_fed(coding):
    encoder, decode = Encoder(coding, no_spawn), decoder(coding)
    for number in range(20):
        event = b'data: {"tick": %d}\n\n' % number
        assert decode(encoder.feed(event)) == event
    assert decode(encoder.finish()) == b""


@given(pieces=st.lists(st.binary(max_size=300)), coding=st.sampled_from(CODINGS))
def test_a_decoder_gets_the_same_bytes(pieces, coding):
    encoder, decode = Encoder(coding, no_spawn), decoder(coding)
    for piece in pieces:
        encoded = encoder.feed(piece)
        assert (decode(encoded) if encoded else b"") == piece
    decode(encoder.finish())


def whole(coding, data):
    """Decode a body that is complete. Raises an error for one that is cut short."""
    if coding == b"gzip":
        return zlib.decompress(data, 16 + zlib.MAX_WBITS)
    if coding == b"br":
        return brotli.decompress(data)
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 24, allow_extra_data=False)


@pytest.mark.parametrize("body", [b"", b"x", TEXT])
def test_an_encoded_body_is_complete(coding, body):
    encoder = Encoder(coding, no_spawn)
    encoded = encoder.feed(body) + encoder.finish()
    assert whole(coding, encoded) == body
    assert len(encoded) < max(len(body) // 4, 32)


def test_a_body_that_is_cut_short_does_not_look_complete(coding):
    encoded = Encoder(coding, no_spawn).feed(TEXT)
    with pytest.raises((zlib.error, brotli.error, zstandard.ZstdError)):
        whole(coding, encoded)


def test_the_window_of_zstd_is_one_that_every_client_takes():
    encoder = Encoder(b"zstd", no_spawn)
    parameters = zstandard.get_frame_parameters(encoder.feed(TEXT))
    assert parameters.window_size <= 8 * 1024 * 1024  # RFC 9659


def test_the_first_64_kib_and_small_pieces_are_quick(coding):
    encoder = Encoder(coding, no_spawn)
    assert encoder.is_quick(QUICK_TOTAL)
    assert not encoder.is_quick(QUICK_TOTAL + 1)
    encoder.feed(TEXT[: QUICK_TOTAL // 2])
    assert encoder.is_quick(QUICK_TOTAL // 2)
    assert not encoder.is_quick(QUICK_TOTAL // 2 + 1)
    encoder.feed(TEXT[: QUICK_TOTAL // 2])
    assert encoder.is_quick(QUICK_PIECE)
    assert not encoder.is_quick(QUICK_PIECE + 1)


async def test_long_work_runs_in_a_thread_in_order_and_pauses_meanwhile(coding, nursery):
    encoder, decode = Encoder(coding, nursery.start_soon), decoder(coding)
    out = [encoder.feed(TEXT[:1000])]
    for at in range(1000, len(TEXT), 100_000):
        done = trio.Event()

        def receive(encoded, done=done):
            assert not encoder.paused
            out.append(encoded)
            done.set()

        encoder.feed_later(TEXT[at : at + 100_000], receive)
        assert encoder.paused
        await done.wait()
    out.append(encoder.finish())
    assert b"".join(map(decode, out)) == TEXT
    assert len(out) == 6


async def test_the_event_loop_runs_while_a_thread_encodes(nursery, monkeypatch):
    """The encoder waits until the loop has answered: if it ran in the loop, this would never end."""
    encoder = Encoder(b"gzip", nursery.start_soon)
    feed, done = encoder.feed, trio.Event()
    monkeypatch.setattr(encoder, "feed", lambda data: trio.from_thread.run_sync(lambda: feed(data)))
    encoder.feed_later(TEXT[:100_000], lambda _: done.set())
    with trio.fail_after(20):
        await done.wait()


async def test_only_so_many_pieces_are_in_work_at_a_time(nursery, monkeypatch):
    in_work = most = 0
    ended = trio.Event()

    def work(data):
        async def be_slow():
            nonlocal in_work, most
            in_work += 1
            most = max(most, in_work)
            await trio.testing.wait_all_tasks_blocked()
            in_work -= 1

        trio.from_thread.run(be_slow)
        return data

    results = []

    def done(encoded):
        results.append(encoded)
        if len(results) == 3 * MAX_THREADS:
            ended.set()

    for number in range(3 * MAX_THREADS):
        encoder = Encoder(b"gzip", nursery.start_soon)
        monkeypatch.setattr(encoder, "feed", work)
        encoder.feed_later(b"%d" % number, done)
    with trio.fail_after(20):
        await ended.wait()
    assert most <= MAX_THREADS


async def test_a_request_that_ends_does_not_wait_for_the_thread(monkeypatch):
    release, begun = threading.Event(), trio.Event()

    def work(data):
        trio.from_thread.run_sync(begun.set)
        release.wait()
        return data

    try:
        async with trio.open_nursery() as request:
            encoder = Encoder(b"gzip", request.start_soon)
            monkeypatch.setattr(encoder, "feed", work)
            encoder.feed_later(TEXT, lambda _: pytest.fail("the request has ended"))
            await begun.wait()
            request.cancel_scope.cancel()
    finally:
        release.set()
