"""Flow control, turns, urgency, length, and the ends of a connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http2.errors import ErrorCode, Http2Error
from lb.http2.field_section import SectionKind
from lb.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from lb.http2.hpack_writer import encode_fields, encode_status
from lb.http2.limits import Http2Limits
from lb.http2.urgency import read_urgency
from tests.support.http2_peers import POST_BLOCK, REQUEST_BLOCK, RESPONSE_BLOCK, Raw, RecordingReceiver, frame

LARGE = 2**31 - 1 - 65_535
OPEN_WINDOW = frame(WINDOW_UPDATE, 0, 0, LARGE.to_bytes(4))


def window(stream_id, size):
    return frame(WINDOW_UPDATE, 0, stream_id, size.to_bytes(4))


def begin(raw, stream_id=1):
    """Send a request, and the head of its response."""
    stream = raw.request(stream_id)
    raw.ours.send_headers(stream, encode_status(200), ended=False)
    return stream


def sizes(raw, stream_id=1):
    """Return the sizes of the DATA frames in the output."""
    return [len(payload) for kind, _, number, payload in raw.take() if kind == DATA and number == stream_id]


# What is sent


def test_the_first_block_alone_says_that_no_table_is_used():
    raw = Raw()
    for number in (1, 3):
        begin(raw, number)
    assert [payload for kind, _, _, payload in raw.take() if kind == HEADERS] == [b"\x20\x88", b"\x88"]


def test_a_body_is_cut_into_frames_that_every_peer_takes():
    raw = Raw()
    stream = begin(raw)
    assert raw.ours.send_data(stream, bytes(40_000), ended=True) == 40_000
    assert [(len(part), flags) for kind, flags, _, part in raw.take() if kind == DATA] == [
        (16_384, 0),
        (16_384, 0),
        (7232, END_STREAM),
    ]
    assert stream.closed
    assert raw.ours.streams == {}


def test_a_stream_waits_for_its_window():
    raw = Raw()
    raw.feed(OPEN_WINDOW)
    stream = begin(raw)
    assert raw.ours.send_data(stream, bytes(70_000), ended=True) == 65_535
    assert not stream.sent_end
    raw.take()
    raw.ours.resume(raw.now)
    assert raw.receiver.take()[1:] == []
    assert raw.ours._room(stream) == 0
    raw.feed(window(1, 10))
    assert raw.receiver.take() == [("can send", 1)]
    assert raw.ours._room(stream) == 10
    assert raw.ours.send_data(stream, bytes(4465), ended=True) == 10
    raw.feed(window(1, 5000))
    assert raw.ours.send_data(stream, bytes(4455), ended=True) == 4455
    assert stream.closed


def test_streams_wait_for_the_window_of_the_connection():
    raw = Raw()
    raw.feed(frame(SETTINGS, 0, 0, b"\0\4\0\x0f\0\0"))
    streams = [begin(raw, number) for number in (1, 3, 5)]
    assert raw.ours.send_data(streams[0], bytes(65_535), ended=False) == 65_535
    assert [raw.ours.send_data(stream, b"x", ended=False) for stream in streams] == [0, 0, 0]
    raw.take()
    raw.receiver.take()
    raw.feed(window(0, 1))
    assert raw.receiver.take() == [("can send", 1), ("can send", 3), ("can send", 5)]


def test_a_stream_that_waits_alone_has_all_of_the_room():
    raw = Raw()
    raw.feed(OPEN_WINDOW + frame(SETTINGS, 0, 0, b"\0\4\x7f\0\0\0"))
    stream, other = begin(raw), begin(raw, 3)
    for _ in range(2):
        assert raw.ours.send_data(stream, bytes(200_000), ended=False) == 65_536
        raw.take()
    assert raw.ours._room(other) == 16_384


def test_the_output_has_a_bound():
    raw = Raw()
    raw.feed(OPEN_WINDOW + frame(SETTINGS, 0, 0, b"\0\4\x7f\0\0\0"))
    stream = begin(raw)
    raw.take()
    for _ in range(3):
        assert raw.ours.send_data(stream, bytes(200_000), ended=False) == 65_536
        assert raw.ours._room(stream) == 0
        assert sum(map(len, raw.ours._output)) < 70_000
        raw.take()
        raw.receiver.take()
        raw.ours.resume(raw.now)
        assert raw.receiver.take() == [("can send", 1)]


def test_a_window_that_shrinks_below_zero_is_paid_back_first():
    raw = Raw()
    raw.feed(OPEN_WINDOW)
    stream = begin(raw)
    assert raw.ours.send_data(stream, bytes(1000), ended=False) == 1000
    raw.feed(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))
    assert stream.send_window == -1000
    assert raw.ours.send_data(stream, b"x", ended=False) == 0
    raw.feed(window(1, 1000))
    assert raw.ours._room(stream) == 0
    raw.feed(window(1, 1))
    assert raw.ours._room(stream) == 1


def test_an_end_without_a_body_passes_without_a_window():
    raw = Raw()
    raw.feed(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))
    stream = begin(raw)
    assert raw.ours.send_data(stream, b"x", ended=True) == 0
    assert raw.ours.send_data(stream, b"", ended=True) == 0
    assert stream.closed


class Sender(RecordingReceiver):
    """Sends on each stream as much as it may."""

    def __init__(self, raw):
        super().__init__()
        self.ours, self.order = raw.ours, []
        raw.receiver = raw.ours._receiver = self

    def can_send(self, stream):
        self.order.append(stream.id)
        self.ours.send_data(stream, bytes(200_000), ended=False)


def rounds(raw, sender, count):
    for _ in range(count):
        raw.ours.take_output()
        raw.ours.resume(raw.now)
    order, sender.order = sender.order, []
    return order


def many_senders(raw, numbers):
    raw.feed(OPEN_WINDOW + frame(SETTINGS, 0, 0, b"\0\4\x7f\0\0\0"))
    sender = Sender(raw)
    for number in numbers:
        raw.ours.send_data(begin(raw, number), bytes(200_000), ended=False)
    return sender


def test_streams_of_the_same_urgency_take_turns():
    raw = Raw()
    sender = many_senders(raw, (1, 3, 5, 7, 9))
    order = rounds(raw, sender, 20)
    counts = [order.count(number) for number in (1, 3, 5, 7, 9)]
    assert max(counts) - min(counts) <= 1
    assert len(order) == 80


def test_urgent_streams_come_first():
    raw = Raw()
    sender = many_senders(raw, (1, 3, 5))
    raw.feed(frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x05u=1"))
    rounds(raw, sender, 1)
    assert set(rounds(raw, sender, 5)) == {5}
    raw.ours.reset(raw.ours.streams[5], ErrorCode.CANCEL)
    assert set(rounds(raw, sender, 5)) == {1, 3}


def test_a_stream_that_does_not_read_holds_up_no_other_one():
    raw = Raw()
    raw.feed(OPEN_WINDOW)
    sender = Sender(raw)
    slow, fast = begin(raw, 1), begin(raw, 3)
    raw.ours.send_data(slow, bytes(200_000), ended=False)
    sent = 0
    raw.ours.send_data(fast, bytes(200_000), ended=False)
    for _ in range(20):
        sent += sum(sizes(raw, 3))
        raw.feed(window(3, 65_535))
    assert sent > 800_000
    assert set(sender.order) == {3}


@pytest.mark.parametrize(
    ("value", "urgency"),
    [
        (b"u=0", 0),
        (b"u=7, i", 7),
        (b"i, u=2", 2),
        (b"i,u=2;x=1", 2),
        (b"", 3),
        (b"u=8", 3),
        (b"u=1.5", 3),
        (b"xu=1", 3),
        (b"u=1, u=5", 5),
        (b"u", 3),
    ],
)
def test_urgency_is_read(value, urgency):
    assert read_urgency(value) == urgency


def test_a_priority_before_its_stream_counts():
    raw = Raw()
    raw.feed(frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=6"))
    assert raw.request(1).urgency == 6
    assert raw.request(3).urgency == 3


def test_a_short_message_goes_at_once_or_not_at_all():
    raw = Raw()
    first = raw.request(1)
    assert not raw.ours.send_message(first, RESPONSE_BLOCK, b"x")  # the first block of a connection is another one
    raw.ours.send_headers(first, RESPONSE_BLOCK, ended=True)
    raw.take()
    second = raw.request(3)
    assert raw.ours.send_message(second, RESPONSE_BLOCK, b"x")
    assert raw.take() == [(HEADERS, END_HEADERS, 3, RESPONSE_BLOCK), (DATA, END_STREAM, 3, b"x")]
    assert second.closed
    assert not raw.ours.send_message(second, RESPONSE_BLOCK, b"x")
    third = raw.request(5, ended=False)
    assert not raw.ours.send_message(third, RESPONSE_BLOCK, bytes(16_385))
    raw.feed(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1"))
    assert not raw.ours.send_message(third, RESPONSE_BLOCK, b"xy")
    assert raw.ours.send_message(third, RESPONSE_BLOCK, b"x")
    assert third.sent_end
    assert not third.closed


def test_a_buffer_that_is_used_again_is_copied():
    raw = Raw()
    raw.feed(OPEN_WINDOW)
    stream, buffer = begin(raw), bytearray(b"a" * 70_000)
    assert raw.ours.send_data(stream, memoryview(buffer)[:100], ended=False) == 100
    assert raw.ours.send_data(stream, memoryview(buffer), ended=False) == 65_435
    buffer[:] = b"b" * 70_000
    assert b"b" not in raw.ours.take_output()


# What is received


def test_bytes_that_are_not_consumed_stop_the_peer():
    raw = Raw()
    stream = raw.request(ended=False)
    for _ in range(3):
        raw.feed(frame(DATA, 0, 1, bytes(16_384)))
    raw.feed(frame(DATA, 0, 1, bytes(16_383)))
    assert [kind for kind, _, _, _ in raw.take()] == []
    assert stream.unconsumed == 65_535
    raw.feed(frame(DATA, 0, 1, b"x"))
    assert raw.receiver.take()[-1] == ("reset", 1, ErrorCode.FLOW_CONTROL_ERROR, False)


def test_windows_are_given_back_in_steps_and_grow_for_who_keeps_up():
    raw = Raw()
    stream = raw.request(ended=False)
    granted = []
    for _ in range(3000):
        raw.feed(frame(DATA, 0, 1, bytes(10_000)))
        raw.ours.consumed(stream, 10_000)
        granted += [int.from_bytes(part) for kind, _, number, part in raw.take() if kind == WINDOW_UPDATE and number]
    assert stream.target_window == 1024 * 1024
    assert granted[0] > 65_535
    assert granted[-1] >= 1024 * 1024 // 2
    assert len(granted) < 70


def test_windows_that_have_grown_are_bounded_together():
    raw = Raw(limits=Http2Limits(max_growth=500_000))
    for number in range(1, 41, 2):
        stream = raw.request(number, ended=False)
        for _ in range(20):
            raw.feed(frame(DATA, 0, number, bytes(16_000)))
            raw.ours.consumed(stream, 16_000)
    extra = [stream.target_window - 65_535 for stream in raw.ours.streams.values()]
    assert sum(extra) == 500_000
    for stream in [*raw.ours.streams.values()]:
        raw.ours.reset(stream, ErrorCode.CANCEL)
    assert raw.ours._growth == 500_000


def test_a_window_does_not_grow_while_something_is_held():
    raw = Raw()
    stream = raw.request(ended=False)
    for _ in range(3):
        raw.feed(frame(DATA, 0, 1, bytes(16_384)))
    raw.ours.consumed(stream, 40_000)
    assert stream.target_window == 65_535
    assert stream.receive_window + stream.unconsumed == 65_535


def test_padding_is_given_back_at_once():
    raw = Raw()
    stream = raw.request(ended=False)
    raw.feed(frame(DATA, 8, 1, b"\xc8" + b"x" + bytes(200)))
    assert raw.receiver.take()[-1] == ("data", 1, b"x", False)
    assert stream.unconsumed == 1
    assert stream.receive_window == 65_535 - 202


def test_the_window_of_the_connection_is_given_back_whatever_becomes_of_the_bytes():
    raw = Raw()
    granted = []
    for number in range(1, 1201, 2):
        raw.request(number, ended=False)
        raw.feed(frame(DATA, 0, number, bytes(16_000)))
        raw.ours.reset(raw.ours.streams[number], ErrorCode.CANCEL)
        raw.feed(frame(DATA, 0, number, bytes(16_000)))
        granted += [
            int.from_bytes(part) for kind, _, stream, part in raw.take() if kind == WINDOW_UPDATE and not stream
        ]
    assert sum(granted) > 600 * 32_000 - 8 * 1024 * 1024 - 32_000


# Length


@pytest.mark.parametrize(("parts", "fine"), [([5], True), ([2, 3], True), ([4], False), ([6], False), ([5, 1], False)])
def test_a_body_has_the_length_that_was_said(parts, fine):
    raw = Raw()
    raw.feed(frame(HEADERS, END_HEADERS, 1, POST_BLOCK + b"\x0f\x0d\x015"))
    for part in parts[:-1]:
        raw.feed(frame(DATA, 0, 1, bytes(part)))
    raw.feed(frame(DATA, END_STREAM, 1, bytes(parts[-1])))
    assert (raw.receiver.take()[-1][0] == "data") == fine
    assert (1 in raw.ours.streams) == fine


@pytest.mark.parametrize("ended", [False, True])
def test_trailers_end_a_body_of_the_length_that_was_said(ended):
    raw = Raw()
    raw.feed(
        frame(HEADERS, END_HEADERS, 1, POST_BLOCK + b"\x0f\x0d\x015") + frame(DATA, 0, 1, bytes(5 if ended else 4))
    )
    raw.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b"))
    last = raw.receiver.take()[-1]
    assert last == (("trailers", 1, ((b"a", b"b"),)) if ended else ("reset", 1, ErrorCode.PROTOCOL_ERROR, False))


def test_a_request_that_ends_at_once_has_no_length():
    raw = Raw()
    raw.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, POST_BLOCK + b"\x0f\x0d\x015"))
    assert raw.receiver.take()[0][:2] == ("malformed", 1)


@pytest.mark.parametrize(
    ("bodiless", "block", "fine"),
    [
        (True, RESPONSE_BLOCK + b"\x0f\x0d\x015", True),
        (False, b"\x8b\x0f\x0d\x015", True),  # 304
        (False, RESPONSE_BLOCK + b"\x0f\x0d\x015", False),
    ],
)
def test_a_response_without_a_body_may_say_a_length(bodiless, block, fine):
    raw = Raw(is_client=True)
    raw.ours.send_headers(raw.ours.open_stream(None, bodiless=bodiless), REQUEST_BLOCK, ended=True)
    raw.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    assert (raw.receiver.take()[-1][0] == "head") == fine


# Requests


def test_a_malformed_request_is_reset_and_the_connection_goes_on():
    raw = Raw()
    raw.feed(frame(HEADERS, END_HEADERS, 1, b"\x82\x84"))
    assert [(kind, number, part) for kind, _, number, part in raw.take()] == [(RST_STREAM, 1, b"\0\0\0\1")]
    assert raw.receiver.take() == [("malformed", 1, "a request without :scheme or :path")]
    raw.feed(frame(DATA, END_STREAM, 1, b"late"))
    raw.request(3)


@pytest.mark.parametrize("offered", [False, True])
def test_extended_connect_is_taken_where_it_was_offered(offered):
    raw = Raw(limits=Http2Limits(extended_connect=offered))
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https")]
    raw.feed(frame(HEADERS, END_HEADERS, 1, encode_fields([*fields, (b":authority", b"a"), (b":path", b"/")])))
    assert raw.receiver.take()[0][0] == ("head" if offered else "malformed")


def test_streams_above_the_bound_are_refused():
    raw = Raw(limits=Http2Limits(max_streams=2))
    for number in (1, 3):
        raw.request(number)
    raw.feed(frame(HEADERS, END_HEADERS | END_STREAM, 5, REQUEST_BLOCK))
    assert [(kind, number, part[-1]) for kind, _, number, part in raw.take()] == [(RST_STREAM, 5, 7)]
    raw.ours.send_headers(raw.ours.streams[1], RESPONSE_BLOCK, ended=True)
    raw.request(7)


def test_a_reset_is_told_once_and_what_follows_is_dropped():
    raw = Raw()
    stream = raw.request(ended=False)
    raw.feed(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
    assert raw.receiver.take()[1:] == [("reset", 1, 8, True)]
    raw.ours.send_headers(stream, RESPONSE_BLOCK, ended=False)
    assert raw.ours.send_data(stream, b"xyz", ended=True) == 3
    raw.ours.consumed(stream, 5)
    raw.ours.reset(stream, 8)
    assert raw.take() == []


def test_a_reset_behind_a_whole_response_is_a_write_of_its_own():
    raw = Raw()
    stream = raw.request(ended=False)
    raw.ours.send_headers(stream, RESPONSE_BLOCK, ended=True)
    raw.ours.reset(stream, ErrorCode.NO_ERROR)
    assert [kind for kind, _, _, _ in raw.take()] == [HEADERS]
    assert [(kind, part) for kind, _, _, part in raw.take()] == [(RST_STREAM, bytes(4))]
    assert raw.take() == []


# Clients


def test_a_client_opens_as_many_streams_as_the_server_takes():
    raw = Raw(is_client=True)
    raw.feed(frame(SETTINGS, 0, 0, b"\0\3\0\0\0\2"))
    assert raw.receiver.take() == [("settings",)]
    for _ in range(2):
        raw.ours.send_headers(raw.ours.open_stream("me"), REQUEST_BLOCK, ended=True)
    assert raw.ours.room == 0
    with pytest.raises(ValueError, match="no further stream"):
        raw.ours.open_stream(None)
    raw.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, RESPONSE_BLOCK))
    assert raw.ours.room == 1


def test_goaway_gives_back_what_the_server_has_not_seen():
    raw = Raw(is_client=True)
    for _ in range(3):
        raw.ours.send_headers(raw.ours.open_stream(None), REQUEST_BLOCK, ended=True)
    raw.feed(frame(GOAWAY, 0, 0, b"\0\0\0\x03\0\0\0\0bye"))
    assert raw.receiver.take() == [("reset", 5, ErrorCode.REFUSED_STREAM, True), ("goaway", 3, 0, b"bye")]
    assert raw.ours.room == 0
    assert not raw.ours.drained
    for number in (1, 3):
        raw.feed(frame(HEADERS, END_HEADERS | END_STREAM, number, RESPONSE_BLOCK))
    assert raw.ours.drained


def test_a_head_of_a_response_that_is_too_large_is_told():
    raw = Raw(is_client=True, limits=Http2Limits(max_header_list=1000))
    raw.ours.send_headers(raw.ours.open_stream(None), REQUEST_BLOCK, ended=True)
    block = RESPONSE_BLOCK + encode_fields([(b"a%d" % number, b"") for number in range(50)])
    raw.feed(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, b"x"))
    assert raw.receiver.take() == [("too large", 1, False), ("data", 1, b"x", True)]


# Pings and ends


def test_pings_are_answered():
    raw = Raw()
    raw.feed(frame(PING, 0, 0, b"12345678"))
    assert raw.take() == [(PING, 1, 0, b"12345678")]
    raw.feed(frame(PING, 1, 0, b"abcdefgh"))
    assert raw.take() == raw.receiver.take() == []


def test_a_drain_loses_no_request_that_is_under_way():
    raw = Raw()
    raw.request(1)
    raw.ours.drain()
    notice, ping = raw.take()
    assert (notice[0], notice[3]) == (GOAWAY, b"\x7f\xff\xff\xff" + bytes(4))
    raw.request(3)  # it was sent before the notice came
    raw.feed(frame(PING, 1, 0, ping[3]))
    assert [part for kind, _, _, part in raw.take() if kind == GOAWAY] == [b"\0\0\0\3" + bytes(4)]
    raw.receiver.take()
    raw.feed(frame(HEADERS, END_HEADERS, 5, POST_BLOCK) + frame(DATA, END_STREAM, 5, b"x"))
    assert raw.receiver.take() == raw.take() == []
    for number in (1, 3):
        assert not raw.ours.drained
        raw.ours.send_headers(raw.ours.streams[number], RESPONSE_BLOCK, ended=True)
    assert raw.ours.drained


def test_a_drain_that_is_given_up_says_goaway_once_more():
    raw = Raw()
    raw.ours.drain()
    raw.ours.drain()
    raw.ours.go_away()
    assert [kind for kind, _, _, _ in raw.take()] == [GOAWAY, PING, GOAWAY]
    assert raw.ours.drained


def test_after_an_error_nothing_is_told_and_nothing_can_be_sent():
    raw = Raw()
    stream = raw.request(ended=False)
    raw.receiver.take()
    with pytest.raises(Http2Error):
        raw.feed(frame(PING, 0, 0, b"short") + frame(DATA, 0, 1, b"x"))
    raw.take()
    assert raw.ours.closed
    assert raw.ours.streams == {1: stream}
    raw.ours.send_headers(stream, RESPONSE_BLOCK, ended=True)
    raw.ours.go_away()
    raw.ours.resume(raw.now)
    raw.feed(frame(PING, 0, 0, bytes(8)))
    assert raw.receiver.take() == raw.take() == []


def test_an_owner_that_closes_in_a_call_gets_no_further_one():
    raw = Raw()

    class Closer(RecordingReceiver):
        def head_received(self, stream, section, *, ended):
            super().head_received(stream, section, ended=ended)
            raw.ours.close()

    receiver = raw.ours._receiver = Closer()
    raw.feed(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, number, REQUEST_BLOCK) for number in (1, 3)))
    assert [call[1] for call in receiver.calls] == [1]


def test_sections_may_be_replaced():
    raw = Raw()
    for number in (1, 3, 5):
        raw.request(number)
    sections = [call[2] for call in raw.receiver.take()]
    assert sections[1] is sections[2]
    raw.ours.sections = type(raw.ours.sections)()
    raw.request(7)
    section = raw.receiver.take()[0][2]
    assert section is not sections[2]
    assert section.kind is SectionKind.REQUEST


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40_000)), max_size=60))
def test_windows_never_drift(steps):
    """Whatever is received and consumed, what the peer may send and what is held make the target together, or less."""
    raw = Raw()
    stream, held = raw.request(ended=False), 0
    for step, size in steps:
        if step and stream.receive_window:
            part = min(size, stream.receive_window, 16_384)
            raw.feed(frame(DATA, 0, 1, bytes(part)))
            held += part
        else:
            part = min(size, held)
            raw.ours.consumed(stream, part)
            held -= part
        assert stream.unconsumed == held
        assert stream.target_window // 2 <= stream.receive_window + held <= stream.target_window
