"""What a peer may do that costs work: bounded, answered with ENHANCE_YOUR_CALM, and no trap for busy clients."""

from __future__ import annotations

import gc
import tracemalloc

import hpack
import pytest

from lb.http2.errors import ErrorCode, Http2Error
from lb.http2.floods import FloodBudget
from lb.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from lb.http2.hpack_writer import encode_status
from lb.http2.limits import Http2Limits
from tests.support.http2_peers import POST_BLOCK, REQUEST_BLOCK, Raw, frame

MANY = 100_000


def events_until_calm(raw, event, *, most=MANY, pause=0.0):
    """Return how many events were taken before ENHANCE_YOUR_CALM. Output is read. ``pause``: seconds between them."""
    for number in range(most):
        raw.now += pause
        try:
            raw.feed(event(number))
        except Http2Error as error:
            assert error.code is ErrorCode.ENHANCE_YOUR_CALM  # noqa: PT017 - the number is the result
            assert raw.take()[-1][0] == GOAWAY
            return number
        raw.ours.take_output()
        raw.ours.resume(raw.now)
    return most


FLOODS = {
    "ping": lambda _: frame(PING, 0, 0, bytes(8)),
    "answers to no ping": lambda _: frame(PING, 1, 0, bytes(8)),
    "settings": lambda _: frame(SETTINGS, 0, 0, b"\0\4\0\1\0\0"),
    "answers to no settings": lambda _: frame(SETTINGS, 1, 0),
    "empty data": lambda _: frame(DATA, 0, 1),
    "padding": lambda _: frame(DATA, 8, 1, b"\x09" + bytes(9)),
    "windows": lambda _: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "windows of a stream": lambda _: frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "priority": lambda _: frame(PRIORITY, 0, 1, bytes(5)),
    "priority of no stream": lambda number: frame(PRIORITY, 0, 2 * number + 1001, bytes(5)),
    "priority update": lambda number: frame(PRIORITY_UPDATE, 0, 0, (2 * number + 1001).to_bytes(4) + b"u=0"),
    "unknown": lambda _: frame(0xEE, 0, 1, bytes(100)),
    "goaway": lambda _: frame(GOAWAY, 0, 0, bytes(8)),
    "rapid reset": lambda number: (
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 3, REQUEST_BLOCK)
        + frame(RST_STREAM, 0, 2 * number + 3, bytes(4))
    ),
    "made you reset": lambda number: (
        frame(HEADERS, END_HEADERS, 2 * number + 3, POST_BLOCK)
        + frame(WINDOW_UPDATE, 0, 2 * number + 3, b"\x7f\xff\xff\xff")
    ),
    "malformed requests": lambda number: frame(HEADERS, END_HEADERS, 2 * number + 3),
    "data of a stream that was reset": lambda _: frame(RST_STREAM, 0, 1, bytes(4)) + frame(DATA, 0, 1, b"x"),
}


@pytest.mark.parametrize("event", FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_the_connection(event):
    raw = Raw()
    raw.request(ended=False)
    assert 500 <= events_until_calm(raw, event) <= 3000


@pytest.mark.parametrize("event", [FLOODS[name] for name in ("ping", "windows", "settings")])
def test_a_peer_that_does_it_at_its_leisure_is_left_alone(event):
    raw = Raw()
    raw.request(ended=False)
    assert events_until_calm(raw, event, pause=0.1, most=5000) == 5000


def test_a_server_that_sends_interim_heads_without_end_is_refused():
    raw = Raw(is_client=True)
    raw.ours.send_headers(raw.ours.open_stream(None), REQUEST_BLOCK, ended=True)
    assert 500 <= events_until_calm(raw, lambda _: frame(HEADERS, END_HEADERS, 1, b"\x08\x03103")) <= 3000


def test_refused_streams_are_counted():
    raw = Raw(limits=Http2Limits(max_streams=1))
    raw.request(1)
    event = lambda number: frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 3, REQUEST_BLOCK)  # noqa: E731
    assert 500 <= events_until_calm(raw, event) <= 3000


# Busy clients


def serve(raw, stream_id, body=b"x"):
    stream = raw.ours.streams[stream_id]
    raw.ours.send_headers(stream, encode_status(200), ended=False)
    assert raw.ours.send_data(stream, body, ended=True) == len(body)


def test_a_client_of_grpc_with_pings_of_its_own_is_no_flood():
    """grpcio measures the path: a ping, and two windows, with each call."""

    def call(number):
        return (
            frame(HEADERS, END_HEADERS, number, POST_BLOCK)
            + frame(DATA, END_STREAM, number, b"x")
            + frame(PING, 0, 0, bytes(8))
            + 2 * frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")
        )

    raw = Raw()
    for number in range(1, 20_001, 2):
        raw.feed(call(number))
        serve(raw, number)
        raw.take()


def test_a_client_that_reads_in_small_steps_is_no_flood():
    """Go gives windows back in steps of 4 KiB, of the stream and of the connection."""
    raw = Raw()
    stream = raw.request()
    raw.ours.send_headers(stream, encode_status(200), ended=False)
    for _ in range(5000):
        assert raw.ours.send_data(stream, bytes(16_384), ended=False) == 16_384
        raw.take()
        for _ in range(4):
            raw.feed(frame(WINDOW_UPDATE, 0, 0, b"\0\0\x10\0") + frame(WINDOW_UPDATE, 0, 1, b"\0\0\x10\0"))


def test_a_client_that_leaves_each_second_request_is_no_flood():
    raw = Raw()
    for number in range(1, 20_000, 4):
        raw.request(number)
        serve(raw, number)
        raw.request(number + 2)
        raw.feed(frame(RST_STREAM, 0, number + 2, bytes(4)))
        raw.take()


def test_a_browser_that_leaves_a_page_is_no_flood():
    raw = Raw()
    for page in range(5):
        first = 200 * page + 1
        for number in range(first, first + 200, 2):
            raw.request(number)
        for number in range(first, first + 200, 2):
            raw.feed(frame(RST_STREAM, 0, number, bytes(4)))
        raw.take()
        raw.now += 1


# Header blocks


def test_a_block_in_endless_parts_is_refused_before_it_is_decoded():
    raw = Raw()
    raw.feed(frame(HEADERS, END_STREAM, 1, REQUEST_BLOCK))
    assert events_until_calm(raw, lambda _: frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b")) < 40


def test_empty_parts_are_counted_too():
    raw = Raw()
    raw.feed(frame(HEADERS, END_STREAM, 1, REQUEST_BLOCK))
    assert events_until_calm(raw, lambda _: frame(CONTINUATION, 0, 1)) < 40


def test_a_block_of_more_bytes_than_a_list_may_have_is_refused():
    raw = Raw()
    raw.feed(frame(HEADERS, END_STREAM, 1, bytes(16_384)))
    assert events_until_calm(raw, lambda _: frame(CONTINUATION, 0, 1, bytes(16_384))) <= 1


def test_a_list_that_is_too_large_is_told_and_the_connection_goes_on():
    raw = Raw()
    block = hpack.Encoder().encode([(b"x-large", b"v" * 3000)] * 12)
    raw.feed(frame(HEADERS, END_HEADERS, 1, REQUEST_BLOCK + block))
    assert raw.receiver.take() == [("too large", 1, False)]
    raw.feed(frame(DATA, END_STREAM, 1, b"x"))
    assert raw.receiver.take() == [("data", 1, b"x", True)]
    raw.request(3)


# Output that is not read


def test_a_peer_that_reads_no_answers_is_not_read_from():
    raw = Raw()
    raw.request(ended=False)
    raw.feed(frame(PING, 0, 0, bytes(8)) * 200)
    assert not raw.ours.paused
    stream = raw.ours.streams[1]
    raw.ours.send_headers(stream, b"\x00\x01a\x7f\x81\xff\x03" + b"v" * 65_408, ended=False)
    assert raw.ours.paused
    raw.feed(frame(PING, 0, 0, b"held....") * 3)
    assert b"held" not in raw.ours.take_output()
    assert not raw.ours.paused
    raw.ours.resume(raw.now)
    assert raw.ours.take_output().count(b"held") == 3


def test_a_turn_has_its_share_of_heads():
    raw = Raw(limits=Http2Limits(max_streams=1000))
    raw.feed(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, n, REQUEST_BLOCK) for n in range(1, 201, 2)))
    assert len(raw.receiver.take()) == 32
    turns = 1
    while raw.ours.more:
        assert raw.ours.paused
        raw.ours.resume(raw.now)
        assert len(raw.receiver.take()) <= 32
        turns += 1
    assert turns == 4
    assert not raw.ours.paused
    assert len(raw.ours.streams) == 100


def test_an_owner_without_time_gets_fewer_heads_or_none():
    raw = Raw(limits=Http2Limits(max_streams=1000))
    raw.ours.heads_in_turn = 0
    raw.feed(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, n, REQUEST_BLOCK) for n in range(1, 21, 2)))
    assert raw.receiver.take() == []
    assert raw.ours.more
    raw.ours.heads_in_turn = 2
    raw.ours.resume(raw.now)
    assert len(raw.receiver.take()) == 2
    assert raw.ours.more


def test_long_heads_that_are_new_take_more_of_a_turn():
    raw = Raw()
    heads = [
        frame(HEADERS, END_HEADERS | END_STREAM, number, REQUEST_BLOCK + b"\x00\x01a\x7f\xd5\x06%0980d" % number)
        for number in range(1, 41, 2)
    ]
    raw.feed(b"".join(heads))
    assert len(raw.receiver.take()) == 3
    assert raw.ours.more


def test_long_heads_that_came_before_do_not():
    raw = Raw(limits=Http2Limits(max_streams=1000))
    block = REQUEST_BLOCK + b"\x00\x01a\x7f\xd5\x06%0980d" % 1
    for number in (1, 3):
        raw.feed(frame(HEADERS, END_HEADERS | END_STREAM, number, block))
    raw.receiver.take()
    raw.feed(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, number, block) for number in range(5, 105, 2)))
    assert len(raw.receiver.take()) == 32


def test_a_block_of_more_fields_than_any_head_has_is_not_read_to_its_end():
    raw = Raw()
    assert events_until_calm(raw, lambda _: frame(HEADERS, END_HEADERS, 1, b"\x82" * 301)) == 0


# Memory


def test_a_connection_that_has_served_many_streams_holds_no_more_than_a_fresh_one():
    raw = Raw()
    sizes = []
    tracemalloc.start()
    try:
        for number in range(1, 8001, 2):
            raw.request(number)
            if number % 4 == 1:
                serve(raw, number)
            else:
                raw.ours.reset(raw.ours.streams[number], ErrorCode.CANCEL)
            raw.ours.take_output()
            raw.receiver.calls.clear()
            if number in (2001, 7999):
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert raw.ours.streams == {}
    assert sizes[1] - sizes[0] < 4096


def test_numbers_that_are_left_out_take_bounded_memory():
    raw = Raw()
    for number in range(1, 4001, 4):
        raw.request(number)
        serve(raw, number)
        raw.take()
    assert len(raw.ours._gaps) <= 101


def test_urgencies_of_streams_to_come_are_bounded():
    raw = Raw()
    for number in range(1, 999, 2):
        raw.feed(frame(PRIORITY_UPDATE, 0, 0, number.to_bytes(4) + b"u=0"))
    assert len(raw.ours._urgencies) <= 100
    assert raw.request(1).urgency == 0
    assert raw.request(997).urgency == 3


def test_late_frames_of_streams_that_are_long_forgotten_do_not_end_the_connection():
    raw = Raw()
    for number in range(1, 601, 2):
        raw.request(number, ended=False)
        raw.ours.reset(raw.ours.streams[number], ErrorCode.CANCEL)
    raw.take()
    raw.feed(frame(DATA, 0, 1, b"late") + frame(DATA, 0, 599, b"late"))
    assert [stream_id for _, _, stream_id, _ in raw.take()] == [1]


# The budget


def test_a_budget_is_earned_by_time_and_by_work():
    budget = FloodBudget(3, 10)
    assert [budget.spend(100.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.spend(100.2) for _ in range(3)] == [True, True, False]
    budget.earn(2)
    assert [budget.spend(100.2) for _ in range(3)] == [True, True, False]
    assert [budget.spend(900.0) for _ in range(4)] == [True, True, True, False]
    budget.earn(900)
    assert [budget.spend(900.0) for _ in range(4)] == [True, True, True, False]
