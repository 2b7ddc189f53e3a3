"""Configurations, frames and metadata: read from all forms of FLV, and written so that they come back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.rtmp.amf0 import MAX_AMF_BYTES, encode_amf0
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.media_reader import MediaReader
from lb.media.rtmp.media_writer import write_config, write_frame, write_metadata
from lb.media.rtmp.message import MessageKind, RtmpMessage
from lb.media.rtmp.timestamps import UnwrappedTimestamps
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig

WRAP = 1 << 32
TRACKS = {"avc1": "video", "hvc1": "video", "av01": "video", "mp4a": "audio", "opus": "audio", "mp3": "audio"}


def read(*messages, reader=None):
    reader = reader or MediaReader()
    return [event for message in messages for event in reader.read(message)]


def audio(payload, timestamp=0):
    return RtmpMessage(MessageKind.AUDIO, 1, timestamp, payload)


def video(payload, timestamp=0):
    return RtmpMessage(MessageKind.VIDEO, 1, timestamp, payload)


@pytest.mark.parametrize("codec", TRACKS)
@pytest.mark.parametrize("delay", [0, 80, -40])
def test_what_is_written_comes_back(codec, delay):
    track = TRACKS[codec]
    config = TrackConfig(track, codec, b"" if codec == "mp3" else b"record")
    delay = delay if codec in ("avc1", "hvc1") else 0
    frames = [RtmpFrame(track, 1000 * n, 1000 * n + delay, track == "audio" or n == 1, b"frame") for n in (1, 2)]
    written = [write_config(config, 0, 1), *(write_frame(frame, codec, 1) for frame in frames)]
    assert read(*filter(None, written)) == [config, *frames]


@pytest.mark.parametrize(
    ("config", "frame", "codec", "delay"),
    [
        (b"\x17\0\0\0\0rec", b"\x17\1\0\0\x28frame", "avc1", 40),
        (b"\x17\0\0\0\0rec", b"\x47\1\xff\xff\xfeframe", "avc1", -2),
        (b"\x1c\0\0\0\0rec", b"\x1c\1\0\0\x28frame", "hvc1", 40),
        (b"\x90hvc1rec", b"\x91hvc1\0\0\x28frame", "hvc1", 40),
        (b"\x90hvc1rec", b"\x93hvc1frame", "hvc1", 0),
        (b"\x90avc1rec", b"\x91avc1\0\0\x28frame", "avc1", 40),
        (b"\x90av01rec", b"\x91av01frame", "av01", 0),
        (b"\x97\3\0\0\0\0\x00av01rec", b"\x97\3\0\0\0\0\x01av01frame", "av01", 0),
        (b"\x97\xff\1\0" + bytes(257) + b"\x07\0\0\x00av01rec", b"\x91av01frame", "av01", 0),
        (b"\x96\x00hvc1\0rec", b"\x96\x03hvc1\0frame", "hvc1", 0),
        (b"\x96\x10hvc1\1\0\0\2no\0\0\0\3rec", b"\x96\x13hvc1\0\0\0\5frame\1\0\0\2no", "hvc1", 0),
        (b"\x96\x20vp09\1\0\0\2nohvc1\0\0\0\3rec", b"\x96\x23hvc1\0\0\0\5frame", "hvc1", 0),
    ],
)
def test_video_of_all_forms(config, frame, codec, delay):
    assert read(video(config), video(frame, 100)) == [
        TrackConfig("video", codec, b"rec"),
        RtmpFrame("video", 100, 100 + delay, key=True, data=b"frame"),
    ]


@pytest.mark.parametrize(
    ("config", "frame", "codec"),
    [
        (b"\xaf\0rec", b"\xaf\1frame", "mp4a"),
        (b"\xa2\0rec", b"\xa2\1frame", "mp4a"),
        (b"\x90mp4arec", b"\x91mp4aframe", "mp4a"),
        (b"\x90Opusrec", b"\x91Opusframe", "opus"),
        (b"\x95\x00Opus\0rec", b"\x95\x01Opus\0frame", "opus"),
        (b"\x97\0\0\x00Opusrec", b"\x97\0\0\x01Opusframe", "opus"),
    ],
)
def test_audio_of_all_forms(config, frame, codec):
    assert read(audio(config), audio(frame, 100)) == [
        TrackConfig("audio", codec, b"rec"),
        RtmpFrame("audio", 100, 100, key=True, data=b"frame"),
    ]


@pytest.mark.parametrize("frame", [b"\x2fframe", b"\xe1frame", b"\x91.mp3frame"])
def test_mp3_needs_no_configuration(frame):
    assert read(audio(frame, 5)) == [
        TrackConfig("audio", "mp3", b""),
        RtmpFrame("audio", 5, 5, key=True, data=b"frame"),
    ]


def test_a_configuration_comes_again_only_if_it_changes():
    first, second = (TrackConfig("audio", "mp4a", record) for record in (b"one", b"two"))
    messages = [audio(b"\xaf\0" + record) for record in (b"one", b"one", b"two", b"two", b"one")]
    assert read(*messages) == [first, second, first]


def test_frames_that_nobody_could_decode_are_left_out():
    before = [audio(b"\xaf\1x"), video(b"\x17\1\0\0\0x"), video(b"\x91hvc1\0\0\0x")]
    other_codec = [video(b"\x17\0\0\0\0rec"), video(b"\x91hvc1\0\0\0x")]
    assert read(*before, *other_codec) == [TrackConfig("video", "avc1", b"rec")]


@pytest.mark.parametrize(
    "message",
    [
        audio(b""),
        video(b""),
        audio(b"\xaf\1"),
        audio(b"\xaf\2x"),
        audio(b"\x92Opus"),
        audio(b"\x94Opus\0\0"),
        audio(b"\x95\x11Opus\1\0\0\2no"),
        video(b"\x17\2\0\0\0"),
        video(b"\x57\0"),
        video(b"\x92hvc1"),
        video(b"\x94color"),
        video(b"\xd1\0"),
        RtmpMessage(MessageKind.ACKNOWLEDGEMENT, 0, 0, b"\0\0\0\1"),
        RtmpMessage(99, 0, 0, b"what"),
        RtmpMessage(MessageKind.DATA, 1, 0, b""),
        RtmpMessage(MessageKind.DATA, 1, 0, encode_amf0("onTextData", {"text": "hi"})),
        RtmpMessage(MessageKind.DATA, 1, 0, encode_amf0("@setDataFrame", "onMetaData")),
        RtmpMessage(MessageKind.DATA, 1, 0, encode_amf0("onMetaData", 5.0)),
        RtmpMessage(MessageKind.DATA_AMF3, 1, 0, b""),
    ],
)
def test_what_is_neither_configuration_nor_frame_is_left_out(message):
    reader = MediaReader()
    read(audio(b"\x90Opusrec"), video(b"\x90hvc1rec"), reader=reader)
    assert read(message, reader=reader) == []


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (audio(b"\xb6x"), "Speex"),
        (audio(b"\x90fLaCx"), "fLaC"),
        (audio(b"\x90\xff\xfe\0\0x"), r"\xff"),
        (video(b"\x12x"), "H.263"),
        (video(b"\x1ex"), "14"),
        (video(b"\x90vp09x"), "vp09"),
    ],
)
def test_a_codec_that_is_not_supported_is_named(message, text):
    with pytest.raises(ProtocolError) as caught:
        read(message)
    assert caught.value.reason == "codec"
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "message", [audio(b"\xaf"), video(b"\x17\1\0"), video(b"\x91hv"), video(b"\x97"), video(b"\x96\x13hvc1\0\0\1")]
)
def test_a_short_message_is_refused(message):
    with pytest.raises(ProtocolError):
        read(message)


def test_a_great_configuration_is_refused():
    with pytest.raises(ProtocolError) as caught:
        read(audio(b"\xaf\0" + bytes(MAX_AMF_BYTES + 1)))
    assert caught.value.reason == "limit"


@pytest.mark.parametrize("publishing", [True, False])
def test_metadata_comes_back(publishing):
    metadata = StreamMetadata({"width": 320.0, "encoder": "a program"})
    message = write_metadata(metadata, 1, publishing=publishing)
    assert read(message) == [metadata]
    amf3 = RtmpMessage(MessageKind.DATA_AMF3, 1, 0, b"\0" + message.payload)
    assert read(amf3) == [metadata]


def tag(kind, timestamp, body):
    fields = bytes((kind,)) + len(body).to_bytes(3, "big") + (timestamp & 0xFFFFFF).to_bytes(3, "big")
    return fields + bytes((timestamp >> 24,)) + bytes(3) + body + (11 + len(body)).to_bytes(4, "big")


def aggregate(timestamp, *tags):
    return RtmpMessage(MessageKind.AGGREGATE, 1, timestamp, b"".join(tags))


def test_an_aggregate_message_is_its_parts_in_its_own_time():
    start = 0x1FFFFF0
    parts = (
        tag(8, start, b"\xaf\0rec"), tag(9, start, b"\x17\0\0\0\0rec"), tag(8, start, b"\xaf\1a"),
        tag(9, start + 20, b"\x27\1\0\0\5v"), tag(18, 0, encode_amf0("onMetaData", {})),
        tag(22, 0, tag(8, 0, b"\xaf\1no")),
    )  # fmt: skip
    assert read(aggregate(5000, *parts)) == [
        TrackConfig("audio", "mp4a", b"rec"),
        TrackConfig("video", "avc1", b"rec"),
        RtmpFrame("audio", 5000, 5000, key=True, data=b"a"),
        RtmpFrame("video", 5020, 5025, key=False, data=b"v"),
        StreamMetadata({}),
    ]


def test_an_aggregate_message_that_is_cut_or_has_too_many_parts_is_refused():
    with pytest.raises(ProtocolError):
        read(aggregate(0, tag(8, 0, b"\xaf\1a")[:-1]))
    assert read(aggregate(0, *[tag(8, 0, b"")] * 4096)) == []
    with pytest.raises(ProtocolError) as caught:
        read(aggregate(0, *[tag(8, 0, b"")] * 4097))
    assert caught.value.reason == "limit"


def test_times_go_on_where_32_bits_wrap_also_in_the_other_track():
    times = [WRAP - 40, WRAP - 20, 0, 20]
    frames = [audio(b"\xaf\1a", time) if n % 2 else video(b"\x27\1\0\0\0v", time) for n, time in enumerate(times)]
    events = read(audio(b"\xaf\0rec"), video(b"\x17\0\0\0\0rec"), *frames)[2:]
    assert [event.dts for event in events] == [WRAP - 40, WRAP - 20, WRAP, WRAP + 20]


@given(st.integers(0, WRAP - 1), st.lists(st.integers(-(1 << 31), (1 << 31) - 1)))
def test_times_keep_their_distances_over_any_number_of_wraps(first, steps):
    unwrapped, time = UnwrappedTimestamps(), first
    assert unwrapped.unwrap(time) == time
    for step in steps:
        time += step
        assert unwrapped.unwrap(time % WRAP) == time


def test_times_that_have_grown_are_sent_in_32_bits():
    frame = RtmpFrame("audio", WRAP + 7, WRAP + 7, key=True, data=b"a")
    assert write_frame(frame, "mp4a", 1).timestamp == 7
    assert write_config(TrackConfig("audio", "mp4a", b"r"), WRAP + 7, 1).timestamp == 7


def test_a_composition_time_that_does_not_fit_is_left_out():
    frame = RtmpFrame("video", 0, 1 << 23, key=True, data=b"v")
    assert write_frame(frame, "avc1", 1).payload == b"\x17\1\0\0\0v"


FIRST_BYTES = st.sampled_from([0x17, 0x27, 0x1C, 0x90, 0x91, 0x93, 0x96, 0x97, 0xAF, 0x2F, 0x95]).map(
    lambda n: bytes((n,))
)
PARTS = st.sampled_from([b"hvc1", b"av01", b"Opus", b"\0", b"\1", b"\x13", b"\0\0\0\2", b"\xff\xff"]) | st.binary(
    max_size=6
)
PAYLOADS = st.builds(lambda first, parts: first + b"".join(parts), FIRST_BYTES, st.lists(PARTS, max_size=8))


@given(st.lists(st.tuples(st.sampled_from([8, 9, 15, 18, 22]), PAYLOADS | st.binary(max_size=60)), max_size=20))
def test_any_messages_are_read_or_refused(given_messages):
    reader = MediaReader()
    with suppress(ProtocolError):
        for kind, payload in given_messages:
            read(RtmpMessage(kind, 1, 0, payload), reader=reader)
