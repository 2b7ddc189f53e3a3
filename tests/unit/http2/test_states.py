"""Every type of frame in every state of a stream, with the error that RFC 9113 names (section 5.1)."""

from __future__ import annotations

from contextlib import suppress

import pytest

from lb.http2.errors import ErrorCode, Http2Error
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
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from lb.http2.hpack_writer import encode_fields, encode_status
from tests.support.http2_peers import POST_BLOCK, REQUEST_BLOCK, RESPONSE_BLOCK, Raw, frame

OK = None
"""It is taken, and nothing is sent."""


def connection(code):
    return ("connection", code)


def stream(code):
    return ("stream", code)


PROTOCOL = ErrorCode.PROTOCOL_ERROR
CLOSED = ErrorCode.STREAM_CLOSED
SIZE = ErrorCode.FRAME_SIZE_ERROR

# States, as a server sees them. Without push, there are no reserved streams.


def idle():
    return Raw()


def open_():
    raw = Raw()
    raw.request(ended=False)
    return raw


def half_closed_remote():
    raw = Raw()
    raw.request()
    return raw


def half_closed_local():
    raw = open_()
    raw.ours.send_headers(raw.ours.streams[1], encode_status(200), ended=True)
    return raw


def closed_in_order():
    raw = half_closed_remote()
    raw.ours.send_headers(raw.ours.streams[1], encode_status(200), ended=True)
    return raw


def reset_by_peer():
    raw = open_()
    raw.feed(frame(RST_STREAM, 0, 1, bytes(4)))
    return raw


def reset_by_us():
    raw = open_()
    raw.ours.reset(raw.ours.streams[1], ErrorCode.CANCEL)
    return raw


def left_out():
    raw = Raw()
    raw.request(3)
    return raw


STATES = (
    idle,
    open_,
    half_closed_remote,
    half_closed_local,
    closed_in_order,
    reset_by_peer,
    reset_by_us,
    left_out,
)
FRAMES = {
    "DATA": frame(DATA, 0, 1, b"x"),
    "DATA, end": frame(DATA, END_STREAM, 1, b"x"),
    "HEADERS": frame(HEADERS, END_HEADERS, 1, POST_BLOCK),
    "trailers": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b"),
    "PRIORITY": frame(PRIORITY, 0, 1, bytes(5)),
    "RST_STREAM": frame(RST_STREAM, 0, 1, bytes(4)),
    "PUSH_PROMISE": frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + REQUEST_BLOCK),
    "WINDOW_UPDATE": frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "WINDOW_UPDATE of 0": frame(WINDOW_UPDATE, 0, 1, bytes(4)),
    "CONTINUATION": frame(CONTINUATION, END_HEADERS, 1, REQUEST_BLOCK),
    "PRIORITY_UPDATE": frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1"),
    "PRIORITY_UPDATE on it": frame(PRIORITY_UPDATE, 0, 1, b"\0\0\0\1u=1"),
    "SETTINGS": frame(SETTINGS, 0, 1),
    "PING": frame(PING, 0, 1, bytes(8)),
    "GOAWAY": frame(GOAWAY, 0, 1, bytes(8)),
    "unknown": frame(0x77, 0xFF, 1, b"anything"),
}
ALWAYS = {
    "PRIORITY": (OK,) * 8,
    "PUSH_PROMISE": (connection(PROTOCOL),) * 8,
    "CONTINUATION": (connection(PROTOCOL),) * 8,
    "PRIORITY_UPDATE": (OK,) * 8,
    "PRIORITY_UPDATE on it": (connection(PROTOCOL),) * 8,
    "SETTINGS": (connection(PROTOCOL),) * 8,
    "PING": (connection(PROTOCOL),) * 8,
    "GOAWAY": (connection(PROTOCOL),) * 8,
    "unknown": (OK,) * 8,
}
UNOPENED = connection(PROTOCOL)
ENDED = connection(CLOSED)
TABLE = {
    # idle, open, half closed by the peer, by us, ended, reset by the peer, by us, left out
    "DATA": (UNOPENED, OK, stream(CLOSED), OK, ENDED, stream(CLOSED), OK, ENDED),
    "DATA, end": (UNOPENED, OK, stream(CLOSED), OK, ENDED, stream(CLOSED), OK, ENDED),
    "HEADERS": (OK, stream(PROTOCOL), stream(CLOSED), stream(PROTOCOL), ENDED, stream(CLOSED), OK, UNOPENED),
    "trailers": (stream(PROTOCOL), OK, stream(CLOSED), OK, ENDED, stream(CLOSED), OK, UNOPENED),
    "RST_STREAM": (UNOPENED, OK, OK, OK, OK, OK, OK, OK),
    "WINDOW_UPDATE": (UNOPENED, OK, OK, OK, OK, OK, OK, OK),
    "WINDOW_UPDATE of 0": (UNOPENED, stream(PROTOCOL), stream(PROTOCOL), stream(PROTOCOL), OK, OK, OK, OK),
    **ALWAYS,
}


def outcome(raw, data):
    """Return what a frame leads to, and check that it is said to the peer and to the owner."""
    raw.take()
    raw.receiver.take()
    with suppress(Http2Error):
        raw.feed(data)
        return outcome_on_stream(raw)
    kind, _, _, payload = raw.take()[-1]
    assert kind == GOAWAY
    assert raw.ours.closed
    return connection(int.from_bytes(payload[4:8]))


def outcome_on_stream(raw):
    resets = [payload for kind, _, stream_id, payload in raw.take() if kind == RST_STREAM and stream_id == 1]
    if not resets:
        return OK
    assert 1 not in raw.ours.streams
    return stream(int.from_bytes(resets[0]))


def each_of(table, states):
    """Run a test for each frame of a table in each state."""
    return pytest.mark.parametrize(
        ("name", "state", "expected"),
        [(name, state, expected) for name, row in table.items() for state, expected in zip(states, row, strict=True)],
        ids=lambda value: getattr(value, "__name__", value if isinstance(value, str) else ""),
    )


@each_of(TABLE, STATES)
def test_a_frame_from_a_client_in_a_state(name, state, expected):
    assert outcome(state(), FRAMES[name]) == expected


def test_the_table_is_whole():
    assert TABLE.keys() == FRAMES.keys()


# As a client sees them


def requested(*, ended=True):
    raw = Raw(is_client=True)
    raw.ours.send_headers(raw.ours.open_stream(None), encode_fields([(b":method", b"GET")]), ended=ended)
    return raw


def responding():
    raw = requested()
    raw.feed(frame(HEADERS, END_HEADERS, 1, RESPONSE_BLOCK))
    return raw


def sending():
    raw = requested(ended=False)
    raw.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, RESPONSE_BLOCK))
    return raw


def all_received():
    raw = responding()
    raw.feed(frame(DATA, END_STREAM, 1))
    return raw


def reset_by_server():
    raw = requested()
    raw.feed(frame(RST_STREAM, 0, 1, bytes(4)))
    return raw


def reset_by_client():
    raw = requested()
    raw.ours.reset(raw.ours.streams[1], ErrorCode.CANCEL)
    return raw


CLIENT_STATES = (
    lambda: Raw(is_client=True),
    requested,
    responding,
    sending,
    all_received,
    reset_by_server,
    reset_by_client,
)
CLIENT_FRAMES = {
    **FRAMES,
    "HEADERS": frame(HEADERS, END_HEADERS, 1, RESPONSE_BLOCK),
    "interim": frame(HEADERS, END_HEADERS, 1, b"\x08\x03103"),
    "interim, end": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x08\x03103"),
}
CLIENT_TABLE = {
    # idle, requested, responding, response received, ended, reset by the server, by us
    "DATA": (UNOPENED, stream(PROTOCOL), OK, stream(CLOSED), ENDED, stream(CLOSED), OK),
    "DATA, end": (UNOPENED, stream(PROTOCOL), OK, stream(CLOSED), ENDED, stream(CLOSED), OK),
    "HEADERS": (UNOPENED, OK, stream(PROTOCOL), stream(CLOSED), ENDED, stream(CLOSED), OK),
    "interim": (UNOPENED, OK, stream(PROTOCOL), stream(CLOSED), ENDED, stream(CLOSED), OK),
    "interim, end": (UNOPENED, stream(PROTOCOL), stream(PROTOCOL), stream(CLOSED), ENDED, stream(CLOSED), OK),
    "trailers": (UNOPENED, stream(PROTOCOL), OK, stream(CLOSED), ENDED, stream(CLOSED), OK),
    "RST_STREAM": (UNOPENED, OK, OK, OK, OK, OK, OK),
    "WINDOW_UPDATE": (UNOPENED, OK, OK, OK, OK, OK, OK),
    "WINDOW_UPDATE of 0": (UNOPENED, stream(PROTOCOL), stream(PROTOCOL), stream(PROTOCOL), OK, OK, OK),
    **{name: row[:7] for name, row in ALWAYS.items()},
    "PRIORITY_UPDATE": (connection(PROTOCOL),) * 7,
}


@each_of(CLIENT_TABLE, CLIENT_STATES)
def test_a_frame_from_a_server_in_a_state(name, state, expected):
    assert outcome(state(), CLIENT_FRAMES[name]) == expected


def test_the_table_of_clients_is_whole():
    assert CLIENT_TABLE.keys() == CLIENT_FRAMES.keys()


# Frames that are malformed, or on the wrong stream


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (frame(DATA, 0, 0, b"x"), connection(PROTOCOL)),
        (frame(HEADERS, END_HEADERS, 0, REQUEST_BLOCK), connection(PROTOCOL)),
        (frame(HEADERS, END_HEADERS, 2, REQUEST_BLOCK), connection(PROTOCOL)),
        (frame(PRIORITY, 0, 0, bytes(5)), connection(PROTOCOL)),
        (frame(PRIORITY, 0, 1, bytes(4)), connection(SIZE)),
        (frame(RST_STREAM, 0, 0, bytes(4)), connection(PROTOCOL)),
        (frame(RST_STREAM, 0, 1, bytes(5)), connection(SIZE)),
        (frame(SETTINGS, 0, 0, bytes(5)), connection(SIZE)),
        (frame(SETTINGS, 1, 0, bytes(6)), connection(SIZE)),
        (frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2"), connection(PROTOCOL)),
        (frame(SETTINGS, 0, 0, b"\0\4\x80\0\0\0"), connection(ErrorCode.FLOW_CONTROL_ERROR)),
        (frame(SETTINGS, 0, 0, b"\0\5\0\0\x3f\xff"), connection(PROTOCOL)),
        (frame(SETTINGS, 0, 0, b"\0\5\1\0\0\0"), connection(PROTOCOL)),
        (frame(SETTINGS, 0, 0, b"\0\x08\0\0\0\2"), connection(PROTOCOL)),
        (frame(SETTINGS, 0, 0, b"\0\x09\0\0\0\2"), connection(PROTOCOL)),
        (frame(SETTINGS, 0, 0, b"\x77\x77\0\0\0\2"), OK),
        (frame(SETTINGS, 0, 0, b"\0\7\0\0\0\2" * 65), connection(ErrorCode.ENHANCE_YOUR_CALM)),
        (frame(PING, 0, 0, bytes(7)), connection(SIZE)),
        (frame(GOAWAY, 0, 0, bytes(7)), connection(SIZE)),
        (frame(WINDOW_UPDATE, 0, 0, bytes(4)), connection(PROTOCOL)),
        (frame(WINDOW_UPDATE, 0, 0, bytes(3)), connection(SIZE)),
        (frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), connection(ErrorCode.FLOW_CONTROL_ERROR)),
        (frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), stream(ErrorCode.FLOW_CONTROL_ERROR)),
        (frame(PRIORITY_UPDATE, 0, 0, bytes(3)), connection(SIZE)),
        (frame(PRIORITY_UPDATE, 0, 0, bytes(4)), connection(PROTOCOL)),
        (frame(DATA, 8, 1, b""), connection(SIZE)),
        (frame(DATA, 8, 1, b"\2x"), connection(PROTOCOL)),
        (frame(HEADERS, 0x2D, 3, b"\0" + bytes(4)), connection(SIZE)),
        (frame(HEADERS, 0x0D, 3, b"\xff" + REQUEST_BLOCK), connection(PROTOCOL)),
        (frame(HEADERS, 0x2D, 3, b"\2" + bytes(5) + REQUEST_BLOCK + bytes(2)), OK),
        (frame(DATA, 0, 1, bytes(16_385)), connection(SIZE)),
        (frame(HEADERS, 0, 3, REQUEST_BLOCK) + frame(DATA, 0, 1, b"x"), connection(PROTOCOL)),
        (frame(HEADERS, 0, 3, REQUEST_BLOCK) + frame(CONTINUATION, END_HEADERS, 1), connection(PROTOCOL)),
        (frame(HEADERS, 0, 3, REQUEST_BLOCK) + frame(0x77, 0, 0), connection(PROTOCOL)),
        (frame(HEADERS, 0, 3, REQUEST_BLOCK) + frame(CONTINUATION, END_HEADERS, 3), OK),
        (frame(HEADERS, 0, 3) + frame(CONTINUATION, END_HEADERS, 3, REQUEST_BLOCK), OK),
        (frame(HEADERS, END_HEADERS, 3, b"\xfe"), connection(ErrorCode.COMPRESSION_ERROR)),
    ],
)
def test_a_malformed_frame(data, expected):
    assert outcome(open_(), data) == expected


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r!", b"PRX", frame(SETTINGS, 0, 0)]
)
def test_what_is_no_preface_is_refused(data):
    raw = Raw(greets=False)
    with pytest.raises(Http2Error) as raised:
        raw.feed(data)
    assert raised.value.code == PROTOCOL


@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, 1, 0), frame(0x77, 0, 0)])
@pytest.mark.parametrize("is_client", [False, True])
def test_the_first_frame_is_settings(first, is_client):
    raw = Raw(is_client=is_client, greets=False)
    with pytest.raises(Http2Error) as raised:
        raw.feed((b"" if is_client else b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + first)
    assert raised.value.code == PROTOCOL
