"""Both sides of a connection: what they ask, answer and refuse, their limits and their deadlines."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.rtmp.amf0 import decode_amf0, encode_amf0
from lb.media.rtmp.chunks import ChunkReader, write_chunks
from lb.media.rtmp.client_session import RtmpClientSession, StreamDenied, StreamFinished, StreamStarted
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.handshake import NOISE_BYTES
from lb.media.rtmp.media_writer import write_config, write_frame
from lb.media.rtmp.message import MessageKind, RtmpMessage
from lb.media.rtmp.server_session import (
    Connected,
    PlayRequested,
    PublishRequested,
    RtmpServerSession,
    StreamEnded,
)
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig
from lb.model.rtmp_address import read_rtmp_address

NOISE = bytes(NOISE_BYTES)
HANDSHAKE = b"\x03" + bytes(2 * 1536)
MOST = 8 * 1024 * 1024
CONFIG = TrackConfig("video", "avc1", b"record")
FRAME = RtmpFrame("video", 40, 80, key=True, data=b"frame")
SOUND = RtmpFrame("audio", 41, 41, key=True, data=b"sound")
APP = {"app": "live", "tcUrl": "rtmp://h/live"}


def command(*values, stream=0):
    return write_chunks(RtmpMessage(MessageKind.COMMAND, stream, 0, encode_amf0(*values)), 128)


def control(kind, payload):
    return write_chunks(RtmpMessage(kind, 0, 0, payload), 128)


def chunks(message):
    return write_chunks(message, 128)


CONNECT = command("connect", 1, APP)
PUBLISH = command("publish", 5, None, "show?key=secret", "live", stream=1)
PLAY = command("play", 5, None, "show", -1000, stream=1)
VIDEO = chunks(write_config(CONFIG, 0, 1)) + chunks(write_frame(FRAME, "avc1", 1))


class Served:
    """A session of a server and what it has sent."""

    def __init__(self, *received, now=0.0):
        self.session = RtmpServerSession(NOISE, now)
        self.reader = ChunkReader(MOST)
        self.events = []
        self._handshake = 1 + 2 * 1536
        self.receive(HANDSHAKE + b"".join(received), now=now)

    def receive(self, data, now=0.0):
        events = self.session.receive(data, now)
        self.events += events
        return events

    def sent(self):
        """Return the messages that were sent: kind, and the values of those that are commands."""
        data = self.session.outgoing()
        self.reader.feed(data[self._handshake :])
        self._handshake = 0
        found = []
        while (message := self.reader.next_message()) is not None:
            if message.kind == MessageKind.SET_CHUNK_SIZE:
                self.reader.chunk_bytes = int.from_bytes(message.payload, "big")
            found.append(decode_amf0(message.payload) if message.kind == MessageKind.COMMAND else message)
        return found

    def commands(self):
        return [message for message in self.sent() if isinstance(message, list)]


def codes(commands):
    return [values[3]["code"] for values in commands if values[0] == "onStatus"]


def publishing(**options):
    served = Served(CONNECT, PUBLISH, **options)
    assert served.session.accept(0.0) == []
    served.sent()
    return served


def playing():
    served = Served(CONNECT, PLAY)
    served.session.accept(0.0)
    served.sent()
    return served


def test_connect_is_answered_with_sizes_and_success():
    served = Served(CONNECT)
    assert served.events == [Connected("live", "rtmp://h/live")]
    *sizes, (name, transaction, _, status) = served.sent()
    assert [message.kind for message in sizes] == [5, 6, 1]
    assert (name, transaction, status["code"]) == ("_result", 1, "NetConnection.Connect.Success")


def test_a_publisher_is_let_in_and_heard():
    served = Served(CONNECT, command("createStream", 4, None), PUBLISH)
    assert served.events[1:] == [PublishRequested("live", "show", "secret")]
    assert ["_result", 4, None, 1] in served.commands()
    assert served.session.accept(5.0) == []
    begin, status = served.sent()
    assert (begin.kind, begin.payload) == (MessageKind.USER_CONTROL, b"\0\0\0\0\0\1")
    assert status[3]["code"] == "NetStream.Publish.Start"
    assert served.receive(VIDEO) == [CONFIG, FRAME]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_whole_conversation_may_come_in_any_pieces(size):
    data = (
        HANDSHAKE + CONNECT + command("createStream", 4, None) + PUBLISH + VIDEO + command("deleteStream", 0, None, 1)
    )
    session, events = RtmpServerSession(NOISE, 0.0), []
    for at in range(0, len(data), size):
        found = session.receive(data[at : at + size], 0.0)
        if any(isinstance(event, PublishRequested) for event in found):
            found += session.accept(0.0)
        events += found
    expected = [Connected("live", APP["tcUrl"]), PublishRequested("live", "show", "secret"), CONFIG, FRAME]
    assert events == [*expected, StreamEnded("left")]


def test_what_a_publisher_sends_before_it_is_let_in_is_kept_until_then():
    served = Served(CONNECT, PUBLISH, VIDEO)
    assert len(served.events) == 2
    assert served.receive(command("deleteStream", 0, None, 1)) == []
    assert served.session.accept(0.0) == [CONFIG, FRAME, StreamEnded("left")]


def test_media_without_a_stream_is_left_out():
    assert Served(CONNECT, VIDEO).events == [Connected("live", "rtmp://h/live")]


@pytest.mark.parametrize("request_", [PUBLISH, PLAY])
def test_who_is_refused_learns_why(request_):
    served = Served(CONNECT, request_)
    served.session.refuse("the key is wrong")
    status = served.commands()[-1][3]
    assert (status["level"], status["description"]) == ("error", "the key is wrong")
    assert status["code"] in ("NetStream.Publish.BadName", "NetStream.Play.StreamNotFound")
    assert served.session.accept(0.0) == []
    assert served.receive(VIDEO) == []
    assert served.commands() == []


@pytest.mark.parametrize("name", ["FCUnpublish", "deleteStream", "closeStream"])
@pytest.mark.parametrize("make", [publishing, playing])
def test_a_stream_ends_once_however_often_the_client_says_so(name, make):
    served = make()
    assert served.receive(command(name, 0, None, 1), now=1.0) == [StreamEnded("left")]
    assert served.receive(command("deleteStream", 6, None, 1)) == []
    assert served.commands() == [["_result", 6, None, None]]
    assert served.session.deadline == 11.0


def test_a_client_may_publish_again_after_it_has_ended():
    served = publishing()
    served.receive(VIDEO + command("deleteStream", 0, None, 1))
    assert served.receive(PUBLISH) == [PublishRequested("live", "show", "secret")]
    served.session.accept(0.0)
    assert served.receive(VIDEO) == [CONFIG, FRAME], "its configuration counts anew"


def test_commands_besides_are_answered():
    served = Served(CONNECT)
    served.sent()
    for name, number in (("releaseStream", 2), ("FCPublish", 3), ("_checkbw", 4), ("getStreamLength", 5)):
        served.receive(command(name, number, None, "show"))
    served.receive(command("secretFunction", 6, None) + command("receiveAudio", 0, None, True))
    answers = served.commands()
    assert [answer[:2] for answer in answers] == [
        ["_result", 2],
        ["_result", 3],
        ["_result", 4],
        ["_result", 5],
        ["_error", 6],
    ]


def test_amf3_commands_are_those_of_amf0_behind_a_byte():
    values = encode_amf0("publish", 5, None, "show")
    wrapped = chunks(RtmpMessage(MessageKind.COMMAND_AMF3, 1, 0, b"\0" + values))
    assert Served(CONNECT, wrapped).events[1:] == [PublishRequested("live", "show", "")]


def test_a_player_gets_what_it_can_read():
    served = playing()
    metadata = StreamMetadata({"width": 320.0})
    served.session.send_metadata(metadata)
    served.session.send_config(CONFIG)
    served.session.send_config(TrackConfig("audio", "mp3", b""))
    served.session.send_frame(FRAME)
    served.session.send_frame(SOUND)
    kinds = [(message.kind, message.stream, message.timestamp) for message in served.sent()]
    assert kinds == [(18, 1, 0), (9, 1, 0), (9, 1, 40), (8, 1, 41)]
    served.session.send_config(CONFIG)
    assert served.sent()[0].timestamp == 41, "a new configuration counts from where the player is"


def test_a_player_learns_that_its_stream_has_ended():
    served = playing()
    served.session.end("the publisher has left")
    end, status = served.sent()
    assert (end.kind, end.payload) == (MessageKind.USER_CONTROL, b"\0\1\0\0\0\1")
    assert status[3]["code"] == "NetStream.Play.UnpublishNotify"
    assert served.receive(PLAY) == []


def test_a_publisher_that_is_sent_away_learns_why():
    served = publishing()
    served.session.end("no key frame for 20 s")
    status = served.commands()[0][3]
    assert (status["level"], status["description"]) == ("error", "no key frame for 20 s")
    assert served.receive(VIDEO) == []


def test_requests_have_ten_seconds_and_publishers_twenty_then_ten():
    served = Served(now=100.0)
    assert served.session.deadline == 110.0
    served.receive(CONNECT, now=105.0)
    assert served.session.deadline == 110.0
    served.receive(PUBLISH, now=106.0)
    assert served.session.deadline == math.inf, "now the caller is at work"
    served.session.accept(107.0)
    assert served.session.deadline == 127.0
    served.receive(chunks(write_config(CONFIG, 0, 1)), now=110.0)
    assert served.session.deadline == 127.0, "a configuration is no media yet"
    served.receive(chunks(write_frame(FRAME, "avc1", 1)), now=120.0)
    assert served.session.deadline == 130.0
    assert served.session.expired(129.9) == []
    assert served.session.expired(130.0) == [StreamEnded("idle")]
    assert codes(served.commands())[-1] == "NetStream.Failed"
    assert served.session.expired(1000.0) == []


@pytest.mark.parametrize("received", [b"", HANDSHAKE[:2000], HANDSHAKE + CONNECT])
def test_who_asks_for_nothing_is_sent_away(received):
    session = RtmpServerSession(NOISE, 0.0)
    session.receive(received, 5.0)
    (error,) = session.expired(10.0)
    assert (type(error), error.reason) == (ProtocolError, "handshake")
    assert session.receive(HANDSHAKE, 10.0) == []


def test_players_are_not_hurried():
    assert playing().session.deadline == math.inf


@pytest.mark.parametrize(
    "data",
    [
        command("createStream", 1, None),
        PUBLISH,
        CONNECT + CONNECT,
        CONNECT + command("publish", 5, None, "../show", stream=1),
        CONNECT + command("publish", 5),
        CONNECT + command("play", 5, None, 7.0),
        command(5.0),
        command("connect", "1"),
        command(),
        chunks(RtmpMessage(MessageKind.COMMAND, 0, 0, b"\xff")),
        control(MessageKind.SET_CHUNK_SIZE, bytes(4)),
        control(MessageKind.SET_CHUNK_SIZE, b"\x80\0\0\0"),
        control(MessageKind.SET_CHUNK_SIZE, b"\1"),
        control(MessageKind.ABORT, b""),
    ],
)
def test_what_is_no_conversation_ends_it(data):
    served = Served(data)
    assert isinstance(served.events[-1], ProtocolError)
    assert served.events[-1].reason == "protocol"
    assert served.receive(CONNECT) == []
    assert served.session.deadline == math.inf


def test_a_second_stream_at_the_same_time_is_refused():
    assert isinstance(publishing().receive(PUBLISH)[-1], ProtocolError)


def test_a_codec_that_is_not_supported_ends_the_stream():
    served = publishing()
    (error,) = served.receive(chunks(RtmpMessage(MessageKind.VIDEO, 1, 0, b"\x12x")))
    assert error.reason == "codec"


def test_who_has_no_stream_may_send_little():
    served = Served(CONNECT)
    (error,) = served.receive(command("x", 0, "x" * 2000) * 70)
    assert (error.reason, "bytes" in str(error)) == ("limit", True)
    served = Served(CONNECT)
    assert served.receive(command("x", 0) * 499) == []
    (error,) = served.receive(control(MessageKind.ACKNOWLEDGEMENT, bytes(4)))
    assert (error.reason, "500 messages" in str(error)) == ("limit", True)
    waiting = Served(CONNECT, PUBLISH)
    (error,) = waiting.receive(VIDEO * 4000)
    assert error.reason == "limit"
    assert waiting.session.accept(0.0) == []


def test_a_long_message_needs_the_right_to_a_stream():
    long = chunks(RtmpMessage(MessageKind.VIDEO, 1, 0, b"\x17\1\0\0\0" + bytes(100_000)))
    assert Served(CONNECT, long).events[-1].reason == "limit"
    served = publishing()
    assert served.receive(chunks(write_config(CONFIG, 0, 1)) + long)[-1].data == bytes(100_000)


def test_received_bytes_are_acknowledged():
    served = Served(CONNECT, PUBLISH)
    served.session.accept(0.0)
    served.receive(control(MessageKind.WINDOW_SIZE, (10_000).to_bytes(4, "big")))
    served.sent()
    total = 0
    for _ in range(100):
        served.receive(VIDEO * 10)
        total += len(VIDEO * 10)
    acknowledged = [int.from_bytes(message.payload, "big") for message in served.sent()]
    assert len(acknowledged) == pytest.approx(total / 10_000, abs=1.5)
    assert acknowledged == sorted(acknowledged)


def test_pings_are_answered_and_other_control_is_left_alone():
    served = Served(CONNECT)
    served.sent()
    served.receive(control(MessageKind.USER_CONTROL, b"\0\6\1\2\3\4") + control(MessageKind.USER_CONTROL, b""))
    served.receive(
        control(MessageKind.USER_CONTROL, b"\0\3\0\0\0\1\0\0\1\0") + control(MessageKind.PEER_BANDWIDTH, bytes(5))
    )
    served.receive(control(MessageKind.ACKNOWLEDGEMENT, bytes(4)) + control(MessageKind.ABORT, b"\0\0\0\4"))
    (pong,) = served.sent()
    assert pong.payload == b"\0\7\1\2\3\4"


@pytest.mark.parametrize(
    "asked", [control(MessageKind.USER_CONTROL, b"\0\6" + bytes(4)), command("_checkbw", 7, None)], ids=["ping", "call"]
)
def test_who_asks_again_and_again_and_takes_no_answer_is_sent_away(asked):
    served = playing()
    for _ in range(1_000):
        served.receive(asked)
    assert len(served.sent()) >= 1_000
    served.receive(asked * 1_000)
    served.receive(asked * 1_000)
    assert served.events[-1].reason == "limit"


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=10), st.sampled_from([b"", CONNECT, CONNECT + PUBLISH]))
def test_garbage_ends_in_one_error_or_nothing(pieces, before):
    served = Served(before)
    served.session.accept(0.0)
    for piece in pieces:
        served.receive(piece)
    errors = [event for event in served.events if isinstance(event, ProtocolError)]
    assert len(errors) <= 1
    assert not errors or served.events[-1] is errors[0]


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 15, 17, 18, 20, 22, 77]), st.binary(max_size=40))))
def test_messages_of_garbage_end_in_one_error_or_nothing(messages):
    served = publishing()
    for kind, payload in messages:
        served.receive(write_chunks(RtmpMessage(kind, 1, 0, payload), 128) if kind != 77 else payload)
    assert sum(isinstance(event, ProtocolError) for event in served.events) <= 1


# Client and server


def exchange(client, server, *, accept=True, now=0.0):
    """Carry bytes between both until there are none. Return the events of both."""
    of_client, of_server = [], []
    while True:
        up, down = client.outgoing(), server.outgoing()
        if not up and not down:
            return of_client, of_server
        if up:
            for event in server.receive(up, now):
                of_server.append(event)
                if isinstance(event, PublishRequested | PlayRequested):
                    of_server += server.accept(now) if accept else server.refuse("not here") or []
        if down:
            of_client += client.receive(down, now)


def client_of(purpose, now=0.0):
    return RtmpClientSession(read_rtmp_address("rtmp://h/live/show?key=secret"), purpose, NOISE, now)


@pytest.mark.parametrize("purpose", ["publish", "play"])
def test_a_client_is_let_in(purpose):
    client, server = client_of(purpose), RtmpServerSession(NOISE, 0.0)
    of_client, of_server = exchange(client, server, now=3.0)
    request_ = PublishRequested if purpose == "publish" else PlayRequested
    assert of_server == [Connected("live", "rtmp://h/live"), request_("live", "show", "secret")]
    assert of_client == [StreamStarted()]
    assert client.deadline == (math.inf if purpose == "publish" else 23.0)


@pytest.mark.parametrize("purpose", ["publish", "play"])
def test_a_client_that_is_refused_learns_why(purpose):
    client, server = client_of(purpose), RtmpServerSession(NOISE, 0.0)
    assert exchange(client, server, accept=False)[0] == [StreamDenied("not here")]
    assert client.receive(b"more", 0.0) == []


def test_frames_go_up_and_down():
    metadata = StreamMetadata({"width": 320.0})
    up, server = client_of("publish"), RtmpServerSession(NOISE, 0.0)
    exchange(up, server)
    up.send_metadata(metadata)
    up.send_config(CONFIG)
    up.send_frame(FRAME)
    assert exchange(up, server)[1] == [metadata, CONFIG, FRAME]
    down, server = client_of("play"), RtmpServerSession(NOISE, 0.0)
    exchange(down, server)
    server.send_metadata(metadata)
    server.send_config(CONFIG)
    server.send_frame(FRAME)
    assert exchange(down, server, now=7.0)[0] == [metadata, CONFIG, FRAME]
    assert down.deadline == 17.0


@pytest.mark.parametrize("purpose", ["publish", "play"])
def test_a_client_takes_its_leave(purpose):
    client, server = client_of(purpose), RtmpServerSession(NOISE, 0.0)
    exchange(client, server)
    client.leave()
    assert exchange(client, server)[1] == [StreamEnded("left")]
    client.leave()
    assert client.outgoing() == b""


@pytest.mark.parametrize("purpose", ["publish", "play"])
def test_a_server_ends_the_stream_of_a_client(purpose):
    client, server = client_of(purpose), RtmpServerSession(NOISE, 0.0)
    exchange(client, server)
    server.end("the stream has stopped")
    assert exchange(client, server)[0] == [StreamFinished("the stream has stopped")]


def test_a_server_may_only_say_that_a_stream_has_ended():
    client, server = client_of("play"), RtmpServerSession(NOISE, 0.0)
    exchange(client, server)
    assert client.receive(control(MessageKind.USER_CONTROL, b"\0\1\0\0\0\2"), 0.0) == [], "of another stream"
    assert len(client.receive(control(MessageKind.USER_CONTROL, b"\0\1\0\0\0\1"), 0.0)) == 1


def test_a_silent_server_is_given_up():
    client = client_of("play", now=5.0)
    assert client.expired(14.9) == []
    (error,) = client.expired(15.0)
    assert error.reason == "handshake"
    client, server = client_of("play"), RtmpServerSession(NOISE, 0.0)
    exchange(client, server)
    assert client.expired(20.0) == [StreamFinished("no audio or video for too long")]


def answered(*data):
    """A client that has connected to a server that answers so."""
    client = client_of("publish")
    client.outgoing()
    return client, client.receive(HANDSHAKE + b"".join(data), 0.0)


def test_a_client_without_a_stream_of_its_own_does_not_go_on():
    for number in (0.0, -1.0, 1e300, math.nan, "1"):
        assert isinstance(answered(command("_result", 4, None, number))[1][-1], ProtocolError)
    assert answered(command("_error", 2, None, {"code": "no"}))[1] == [], "nobody needs releaseStream"
    refused = StreamDenied("NetConnection.Connect.Rejected")
    assert answered(command("_error", 1, None, {"code": refused.text}))[1] == [refused]
    assert answered(command("_error", 1))[1] == [StreamDenied("the server gives no reason")]
    assert isinstance(answered(b"\xff" * 200)[1][-1], ProtocolError)


@given(st.lists(st.tuples(st.sampled_from([4, 5, 8, 9, 17, 18, 20, 22]), st.binary(max_size=40)), max_size=10))
def test_garbage_from_a_server_ends_in_one_error_or_nothing(messages):
    client, server = client_of("play"), RtmpServerSession(NOISE, 0.0)
    exchange(client, server)
    events = [
        event for kind, payload in messages for event in client.receive(chunks(RtmpMessage(kind, 1, 0, payload)), 0.0)
    ]
    assert sum(isinstance(event, ProtocolError) for event in events) <= 1
