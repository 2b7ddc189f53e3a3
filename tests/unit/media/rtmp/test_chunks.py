"""Chunks: messages come back from any cut of the bytes, and limits hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.rtmp.chunks import ChunkReader, write_chunks
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.message import RtmpMessage

MOST = 8 * 1024 * 1024
TIMES = st.sampled_from([0, 1, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF]) | st.integers(0, 0xFFFFFFFF)
MESSAGES = st.builds(
    RtmpMessage, st.sampled_from([8, 9, 18, 20]), st.integers(0, 0xFFFFFFFF), TIMES, st.binary(max_size=700)
)


def read_all(reader, data, size=0):
    """Feed bytes, all at once or in pieces. Return the messages."""
    found = []
    for at in range(0, len(data), size or len(data)):
        reader.feed(data[at : at + (size or len(data))])
        while (message := reader.next_message()) is not None:
            found.append(message)
    return found


def header(form, number, rest=b""):
    return bytes((form << 6 | number,)) + rest


def whole(time, length, kind=8, stream=1, number=4):
    """A header of form 0."""
    fields = time.to_bytes(3, "big") + length.to_bytes(3, "big") + bytes((kind,)) + stream.to_bytes(4, "little")
    return header(0, number, fields)


@given(st.lists(MESSAGES, max_size=5), st.sampled_from([1, 128, 200, 65536]), st.integers(1, 300))
def test_messages_come_back_in_any_pieces(messages, chunk_bytes, size):
    reader = ChunkReader(MOST)
    reader.chunk_bytes = chunk_bytes
    data = b"".join(write_chunks(message, chunk_bytes) for message in messages)
    assert read_all(reader, data, size) == messages
    assert reader.received == len(data)


STREAM = (
    whole(0xFFFFFF, 200) + (0xFFFFFFF0).to_bytes(4, "big") + b"a" * 128 + header(3, 4, b"\xff\xff\xff\xf0" + b"b" * 72)
    + whole(7, 150, 9, 1, 6) + b"v" * 128 + header(1, 4, b"\0\0\x20\0\0\x02\x08") + b"cc" + header(3, 6) + b"w" * 22
    + header(2, 4, b"\0\0\x05") + b"dd" + header(3, 4) + b"ee"
    + header(0, 0, b"\x05") + whole(1, 1, number=0)[1:] + b"x" + header(0, 1, b"\x05\x01") + whole(2, 1)[1:] + b"y"
)  # fmt: skip
STREAM_MESSAGES = [
    RtmpMessage(8, 1, 0xFFFFFFF0, b"a" * 128 + b"b" * 72),
    RtmpMessage(8, 1, 0x10, b"cc"),
    RtmpMessage(9, 1, 7, b"v" * 128 + b"w" * 22),
    RtmpMessage(8, 1, 0x15, b"dd"),
    RtmpMessage(8, 1, 0x1A, b"ee"),
    RtmpMessage(8, 1, 1, b"x"),
    RtmpMessage(8, 1, 2, b"y"),
]


def test_every_cut_of_all_forms_of_chunks_reads_the_same():
    for cut in range(1, len(STREAM)):
        reader = ChunkReader(MOST)
        assert read_all(reader, STREAM[:cut]) + read_all(reader, STREAM[cut:]) == STREAM_MESSAGES, cut
    assert read_all(ChunkReader(MOST), STREAM, 1) == STREAM_MESSAGES


def test_a_chunk_without_a_header_repeats_the_step_of_the_message_before():
    data = (
        whole(1000, 1) + b"a" + header(3, 4) + b"b" + header(1, 4, b"\0\0\x14\0\0\x01\x08") + b"c" + header(3, 4, b"d")
    )
    times = [message.timestamp for message in read_all(ChunkReader(MOST), data)]
    assert times == [1000, 2000, 2020, 2040], "after form 0 the step is the time itself (section 5.3.1.2.4)"


@pytest.mark.parametrize("repeated", [True, False])
def test_an_extended_time_is_repeated_inside_a_message_or_not(repeated):
    again = b"\x01\0\0\0" if repeated else b""
    data = whole(0xFFFFFF, 300) + b"\x01\0\0\0" + b"p" * 128
    data += header(3, 4) + again + b"q" * 128 + header(3, 4) + again + b"r" * 44
    for size in (1, 0):
        expected = RtmpMessage(8, 1, 0x1000000, b"p" * 128 + b"q" * 128 + b"r" * 44)
        assert read_all(ChunkReader(MOST), data + whole(5, 1) + b"x", size) == [expected, RtmpMessage(8, 1, 5, b"x")]


def test_a_message_that_begins_without_a_header_has_its_own_extended_step():
    step = b"\xff\xff\xff" + b"\0\0\x02\x08" + b"\x01\0\0\0"
    data = whole(5, 2) + b"aa" + header(1, 4, step) + b"bb" + header(3, 4, b"\x01\0\0\0") + b"cc"
    data += header(3, 4, b"\x02\0\0\0") + b"dd"
    times = [message.timestamp for message in read_all(ChunkReader(MOST), data)]
    assert times == [5, 5 + 0x1000000, 5 + 0x2000000, 5 + 0x4000000]


def test_the_size_of_chunks_changes_between_two():
    reader = ChunkReader(MOST)
    assert read_all(reader, whole(0, 130) + b"a" * 128) == []
    reader.chunk_bytes = 5
    assert read_all(reader, header(3, 4) + b"aa" + whole(0, 7) + b"b" * 5 + header(3, 4) + b"bb") == [
        RtmpMessage(8, 1, 0, b"a" * 130),
        RtmpMessage(8, 1, 0, b"b" * 7),
    ]


def test_a_message_can_be_aborted():
    reader = ChunkReader(300)
    for _ in range(10):
        assert read_all(reader, whole(0, 250) + b"a" * 128) == []
        reader.abort(4)
    reader.abort(4)
    reader.abort(60)
    assert read_all(reader, whole(3, 1) + b"x") == [RtmpMessage(8, 1, 3, b"x")]


def test_some_begin_a_chunk_stream_with_the_form_that_names_no_stream():
    assert read_all(ChunkReader(MOST), header(1, 4, b"\0\0\x05\0\0\x01\x09x")) == [RtmpMessage(9, 0, 5, b"x")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header(3, 4), "protocol"),
        (header(2, 4, b"\0\0\0"), "protocol"),
        (whole(0, 200) + b"a" * 128 + whole(0, 1), "protocol"),
        (whole(0, MOST + 1), "limit"),
        (whole(0, 64 * 1024 + 1, kind=20), "limit"),
        (whole(0, 64 * 1024 + 1, kind=18), "limit"),
        (whole(0, 64 * 1024 + 1, kind=3), "limit"),
        (whole(0, 64 * 1024 + 1, kind=99), "limit"),
    ],
)
def test_bad_chunks_are_refused(data, reason):
    with pytest.raises(ProtocolError) as caught:
        read_all(ChunkReader(MOST), data)
    assert caught.value.reason == reason


def test_there_are_64_chunk_streams():
    reader = ChunkReader(MOST)
    many = b"".join(whole(0, 0, number=number) for number in range(2, 64))
    many += header(0, 0, b"\x00") + whole(0, 0)[1:] + header(0, 0, b"\x01") + whole(0, 0)[1:]
    assert len(read_all(reader, many)) == 64
    with pytest.raises(ProtocolError) as caught:
        read_all(reader, header(0, 0, b"\x02") + whole(0, 0)[1:])
    assert caught.value.reason == "limit"


def test_unfinished_messages_are_limited_together():
    reader = ChunkReader(1000)
    assert read_all(reader, b"".join(whole(0, 1000, number=number) + bytes(128) for number in range(2, 9))) == []
    with pytest.raises(ProtocolError) as caught:
        read_all(reader, whole(0, 1000, number=9) + bytes(128))
    assert caught.value.reason == "limit"


def test_messages_that_have_ended_do_not_count():
    message = RtmpMessage(9, 1, 0, bytes(600))
    assert read_all(ChunkReader(1000), write_chunks(message, 128) * 10) == [message] * 10


def test_a_message_may_be_as_long_as_the_limit():
    message = RtmpMessage(9, 1, 0, bytes(MOST))
    assert read_all(ChunkReader(MOST), write_chunks(message, 128), 60_000) == [message]


def held(reader):
    """Bytes that the reader keeps."""
    return len(reader._buffer) + sum(len(stream.body) for stream in reader._streams.values())


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=30))
def test_any_bytes_end_in_messages_or_one_error_and_little_is_kept(pieces):
    reader = ChunkReader(500)
    for piece in pieces:
        try:
            found = read_all(reader, piece)
        except ProtocolError:
            return
        assert all(len(message.payload) <= 64 * 1024 for message in found)
        assert held(reader) <= 500 + 18


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.data())
def test_changed_bytes_end_in_messages_or_one_error(messages, data):
    whole_bytes = bytearray(b"".join(write_chunks(message, 128) for message in messages))
    for _ in range(data.draw(st.integers(1, 4))):
        whole_bytes[data.draw(st.integers(0, len(whole_bytes) - 1))] = data.draw(st.integers(0, 255))
    reader = ChunkReader(5000)
    try:
        read_all(reader, bytes(whole_bytes), data.draw(st.integers(1, 300)))
    except ProtocolError:
        return
    assert held(reader) <= 5000 + 18
