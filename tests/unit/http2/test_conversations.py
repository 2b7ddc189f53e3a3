"""Conversations with the library h2 as peer, in both roles, and the same bytes however they come."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress

import attrs
import h2.events
import h2.exceptions
from hypothesis import given
from hypothesis import strategies as st

from lb.http2.connection import Http2Connection
from lb.http2.errors import Http2Error
from lb.http2.frames import CONTINUATION, DATA, GOAWAY, HEADERS, RST_STREAM
from lb.http2.hpack_reader import FieldSections
from lb.http2.hpack_writer import encode_fields, encode_status
from lb.http2.limits import Http2Limits
from tests.support.http2_peers import Conversation, RecordingReceiver, frame, frames

HEAD = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/x")]
FIELDS = st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b", b"accept"]), st.sampled_from([b"", b"1", b"\xff" * 90])))
BODY = st.one_of(st.just(0), st.integers(1, 300), st.integers(1, 100_000))
EXCHANGE = st.fixed_dictionaries(
    {
        "fields": FIELDS,
        "request": BODY,
        "response": BODY,
        "trailers": st.booleans(),
        "interim": st.booleans(),
        "pad": st.integers(0, 40),
        "window": st.sampled_from([0, 1000, 1_000_000]),
    }
)
EXCHANGES = st.lists(EXCHANGE, min_size=1, max_size=4)


class Pump:
    """Sends bodies of ours as there is room, and the ends that follow them."""

    def __init__(self, conversation):
        self.conversation = conversation
        self.left = {}

    def body(self, stream, size, trailers):
        self.left[stream.id] = (stream, size, trailers)
        self.go_on(stream.id)

    def go_on(self, stream_id):
        ours = self.conversation.ours
        stream, size, trailers = self.left.pop(stream_id)
        taken = ours.send_data(stream, bytes(size), ended=not trailers)
        if taken < size or (not size and not trailers and not stream.sent_end):
            self.left[stream_id] = (stream, size - taken, trailers)
        elif trailers:
            ours.send_headers(stream, encode_fields([(b"x-trailer", b"1")]), ended=True)

    def run(self):
        """Carry bytes until all is said. h2 gives back the windows of what it got."""
        conversation = self.conversation
        while True:
            conversation.carry()
            events, conversation.events = conversation.events, []
            for event in events:
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    conversation.theirs.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            yield from events
            called = [call[1] for call in conversation.receiver.calls if call[0] == "can send"]
            conversation.receiver.calls = [call for call in conversation.receiver.calls if call[0] != "can send"]
            for stream_id in called:
                self.go_on(stream_id)
            if not called and not events:
                return


def send_theirs(conversation, stream_id, exchange, size, *, trailers):
    """Send a body by h2, in pieces that its windows allow."""
    theirs = conversation.theirs
    while size:
        pad = exchange["pad"] or None
        extra = 0 if pad is None else pad + 1
        room = min(theirs.local_flow_control_window(stream_id), theirs.max_outbound_frame_size) - extra
        piece = min(size, room)
        assert piece > 0  # ours gives windows back as its owner consumes
        theirs.send_data(stream_id, bytes(piece), pad_length=pad)
        size -= piece
        conversation.carry()
    if trailers:
        theirs.send_headers(stream_id, [(b"x-trailer", b"1")], end_stream=True)
    else:
        theirs.end_stream(stream_id)


def told(receiver):
    """Return heads, sizes of bodies, trailers and ends that the owner was told, by stream."""
    heads, sizes, trailers, ends = defaultdict(list), defaultdict(int), {}, set()
    for name, stream_id, *rest in receiver.calls:
        if name == "head":
            heads[stream_id].append(rest[0])
        elif name == "data":
            sizes[stream_id] += len(rest[0])
        elif name == "trailers":
            trailers[stream_id] = rest[0]
        if name == "trailers" or (name in ("head", "data") and rest[-1]):
            assert stream_id not in ends
            ends.add(stream_id)
    return heads, sizes, trailers, ends


class Told:
    """The same of what h2 says."""

    def __init__(self, events):
        self.sizes, self.ends, self.heads, self.trailers = defaultdict(int), set(), defaultdict(list), {}
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.sizes[event.stream_id] += len(event.data)
            elif isinstance(event, h2.events.StreamEnded):
                self.ends.add(event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                self.trailers[event.stream_id] = tuple(event.headers)
            elif hasattr(event, "headers"):
                self.heads[event.stream_id].append([*event.headers])


@given(EXCHANGES, st.sampled_from([0, 1, 9, 1000]))
def test_requests_of_h2_are_served(exchanges, step):
    conversation = Conversation(is_client=False, step=step if sum(e["request"] for e in exchanges) < 500 else 0)
    pump, events = Pump(conversation), []
    for number, exchange in enumerate(exchanges):
        stream_id = 2 * number + 1
        conversation.theirs.send_headers(stream_id, HEAD + exchange["fields"])
        send_theirs(conversation, stream_id, exchange, exchange["request"], trailers=exchange["trailers"])
        conversation.carry()
        stream = conversation.ours.streams[stream_id]
        if exchange["interim"]:
            conversation.ours.send_headers(stream, encode_status(103) + encode_fields([(b"link", b"x")]), ended=False)
        block = encode_status(200) + encode_fields(exchange["fields"])
        conversation.ours.send_headers(stream, block, ended=False)
        pump.body(stream, exchange["response"], exchange["trailers"])
        if exchange["window"]:
            events += pump.run()
    events += pump.run()
    heads, sizes, trailers, ends = told(conversation.receiver)
    theirs = Told(events)
    for number, exchange in enumerate(exchanges):
        stream_id, trailer = 2 * number + 1, ((b"x-trailer", b"1"),)
        assert [[*head.fields] for head in heads[stream_id]] == [exchange["fields"]]
        assert (sizes[stream_id], theirs.sizes[stream_id]) == (exchange["request"], exchange["response"])
        assert theirs.heads[stream_id][-1] == [(b":status", b"200"), *exchange["fields"]]
        assert len(theirs.heads[stream_id]) == 1 + exchange["interim"]
        assert (trailers.get(stream_id), theirs.trailers.get(stream_id)) == (
            (trailer, trailer) if exchange["trailers"] else (None, None)
        )
    assert ends == theirs.ends == {2 * number + 1 for number in range(len(exchanges))}
    assert conversation.ours.streams == {}


@given(EXCHANGES, st.sampled_from([0, 1, 9, 1000]))
def test_h2_serves_our_requests(exchanges, step):
    conversation = Conversation(is_client=True, step=step if sum(e["response"] for e in exchanges) < 500 else 0)
    pump, events = Pump(conversation), []
    for exchange in exchanges:
        stream = conversation.ours.open_stream(None)
        conversation.ours.send_headers(stream, encode_fields(HEAD + exchange["fields"]), ended=False)
        pump.body(stream, exchange["request"], exchange["trailers"])
        if exchange["window"]:
            events += pump.run()
    events += pump.run()
    for number, exchange in enumerate(exchanges):
        stream_id = 2 * number + 1
        if exchange["interim"]:
            conversation.theirs.send_headers(stream_id, [(b":status", b"103")])
        conversation.theirs.send_headers(stream_id, [(b":status", b"200"), *exchange["fields"]])
        send_theirs(conversation, stream_id, exchange, exchange["response"], trailers=exchange["trailers"])
    events += pump.run()
    heads, sizes, trailers, ends = told(conversation.receiver)
    theirs = Told(events)
    for number, exchange in enumerate(exchanges):
        stream_id, trailer = 2 * number + 1, ((b"x-trailer", b"1"),)
        assert [head.status for head in heads[stream_id]] == [103, 200][not exchange["interim"] :]
        assert [*heads[stream_id][-1].fields] == exchange["fields"]
        assert (sizes[stream_id], theirs.sizes[stream_id]) == (exchange["response"], exchange["request"])
        assert (trailers.get(stream_id), theirs.trailers.get(stream_id)) == (
            (trailer, trailer) if exchange["trailers"] else (None, None)
        )
    assert ends == theirs.ends == {2 * number + 1 for number in range(len(exchanges))}
    assert conversation.ours.streams == {}


# The same bytes, however they come


def client_bytes():
    """Return what a client might send: bodies, padding, priorities, a block in parts, a reset, trailers."""
    theirs = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    theirs.initiate_connection()
    theirs.send_headers(1, [*HEAD, (b"content-length", b"7")], priority_weight=9)
    theirs.send_data(1, b"one", pad_length=3)
    theirs.send_headers(3, [(b":method", b"GET"), *HEAD[1:]], end_stream=True)
    theirs.send_data(1, b"more", end_stream=True)
    theirs.ping(b"12345678")
    theirs.prioritize(3, weight=7)
    theirs.send_headers(5, HEAD)
    theirs.send_data(5, b"y")
    theirs.send_headers(5, [(b"x-trailer", b"1")], end_stream=True)
    block = encode_fields(HEAD)
    in_parts = frame(HEADERS, 0, 7, block[:9]) + frame(CONTINUATION, 0, 7) + frame(CONTINUATION, 4, 7, block[9:])
    return theirs.data_to_send() + in_parts + frame(DATA, 0, 7, b"x" * 300) + frame(RST_STREAM, 0, 7, bytes(4))


BYTES = client_bytes()


def outcome(pieces):
    """Return what an owner is told of these pieces, with joined bodies, and the output."""
    receiver = RecordingReceiver()
    ours = Http2Connection(receiver, Http2Limits(), FieldSections(), is_client=False)
    with suppress(Http2Error):
        for piece in pieces:
            ours.feed(piece, 1.0)
    calls = [tuple(attrs.astuple(part) if attrs.has(type(part)) else part for part in call) for call in receiver.calls]
    return calls, ours.take_output()


def test_a_split_at_every_byte_changes_nothing():
    whole = outcome([BYTES])
    assert [call[0] for call in whole[0]].count("head") == 4
    assert outcome([BYTES[at : at + 1] for at in range(len(BYTES))]) == whole
    for at in range(len(BYTES)):
        assert outcome([BYTES[:at], BYTES[at:]]) == whole


@given(st.data())
def test_mutated_bytes_are_judged_the_same_however_they_come(data):
    mutated = bytearray(BYTES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(24, len(mutated) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(mutated)))
    step = data.draw(st.sampled_from([1, 3, 100]))
    pieces = [bytes(mutated[at : min(at + step, cut)]) for at in range(0, cut, step)]
    assert outcome([bytes(mutated[:cut])]) == outcome(pieces)


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40))))
def test_any_frames_end_in_nothing_but_an_error_of_the_protocol(sent):
    data = BYTES[:60] + b"".join(frame(*each) for each in sent)
    for is_client in (False, True):
        ours = Http2Connection(RecordingReceiver(), Http2Limits(), FieldSections(), is_client=is_client)
        if is_client:
            ours.send_headers(ours.open_stream(None), encode_fields(HEAD), ended=True)
        with suppress(Http2Error):
            ours.feed(data[0 if not is_client else 24 :], 1.0)
        kinds = [kind for kind, _, _, _ in frames(ours.take_output()[24 if is_client else 0 :])]
        assert ours.closed == (kinds[-1] == GOAWAY)


def test_h2_takes_what_we_send_under_its_settings():
    conversation = Conversation(is_client=False)
    conversation.theirs.update_settings({4: 10, 5: 20_000, 1: 0})
    conversation.theirs.send_headers(1, HEAD, end_stream=True)
    conversation.carry()
    stream = conversation.ours.streams[1]
    conversation.ours.send_headers(stream, encode_status(200) + encode_fields([(b"x", b"v" * 40_000)]), ended=False)
    assert conversation.ours.send_data(stream, b"y" * 100, ended=True) == 10
    conversation.carry()
    conversation.theirs.update_settings({4: 60})
    conversation.carry()
    assert conversation.ours.send_data(stream, b"y" * 90, ended=True) == 50
