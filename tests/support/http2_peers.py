"""HTTP/2 in memory: an owner that records what a connection tells it, and the library h2 as its peer."""

from __future__ import annotations

from typing import Any

import h2.config
import h2.connection
import h2.events

from lb.http2.connection import Http2Connection
from lb.http2.field_section import FieldSection
from lb.http2.frames import END_HEADERS, END_STREAM, FRAME_HEADER, HEADER_SIZE, HEADERS, PREFACE, SETTINGS
from lb.http2.hpack_reader import FieldSections
from lb.http2.limits import Http2Limits
from lb.http2.stream import Http2Stream


class RecordingReceiver:
    """Implements :class:`lb.http2.receiver.Http2Receiver`: each call is a tuple in ``calls``."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.connection: Http2Connection | None = None
        """Set: all data is consumed at once."""

    def head_received(self, stream: Http2Stream, section: FieldSection, *, ended: bool) -> None:
        self.calls.append(("head", stream.id, section, ended))

    def head_too_large(self, stream: Http2Stream, *, ended: bool) -> None:
        self.calls.append(("too large", stream.id, ended))

    def data_received(self, stream: Http2Stream, data: memoryview, *, ended: bool) -> None:
        self.calls.append(("data", stream.id, bytes(data), ended))
        if self.connection is not None:
            self.connection.consumed(stream, len(data))

    def trailers_received(self, stream: Http2Stream, section: FieldSection) -> None:
        self.calls.append(("trailers", stream.id, section.fields))

    def stream_malformed(self, stream: Http2Stream, problem: str) -> None:
        self.calls.append(("malformed", stream.id, problem))

    def stream_reset(self, stream: Http2Stream, code: int, *, by_peer: bool) -> None:
        self.calls.append(("reset", stream.id, code, by_peer))

    def can_send(self, stream: Http2Stream) -> None:
        self.calls.append(("can send", stream.id))

    def goaway_received(self, last_stream: int, code: int, debug: bytes) -> None:
        self.calls.append(("goaway", last_stream, code, debug))

    def settings_received(self) -> None:
        self.calls.append(("settings",))

    def take(self) -> list[tuple[Any, ...]]:
        """Return the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


class Conversation:
    """A connection of ours and one of h2, with their bytes carried between them."""

    def __init__(self, *, is_client: bool, limits: Http2Limits | None = None, step: int = 0) -> None:
        """``is_client``: ours is the client. ``step``: bytes are carried in pieces of so many; 0 = whole."""
        self.receiver = RecordingReceiver()
        self.ours = Http2Connection(self.receiver, limits or Http2Limits(), FieldSections(), is_client=is_client)
        self.receiver.connection = self.ours
        self.theirs = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=not is_client, header_encoding=None)
        )
        self.step = step
        self.now = 0.0
        self.theirs.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.carry()
        self.receiver.take()
        self.events.clear()

    def carry(self) -> None:
        """Carry bytes both ways until there are none."""
        while True:
            to_us = self.theirs.data_to_send()
            if to_us:
                for at in range(0, len(to_us), self.step or len(to_us)):
                    self.ours.feed(to_us[at : at + (self.step or len(to_us))], self.now)
            to_them = self.ours.take_output()
            if to_them:
                self.events += self.theirs.receive_data(to_them)
            if self.ours.more or to_them:
                self.ours.resume(self.now)
            if not (to_us or to_them or self.ours.more):
                return


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return a frame as bytes, valid or not."""
    return FRAME_HEADER.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream_id) + payload


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Return type, flags, stream and payload of each frame."""
    found = []
    while data:
        high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(data)
        end = HEADER_SIZE + (high << 16) + low
        found.append((kind, flags, stream_id, data[HEADER_SIZE:end]))
        data = data[end:]
    return found


REQUEST_BLOCK = b"\x82\x87\x84\x01\x01a"
"""GET https://a/"""
POST_BLOCK = b"\x83\x87\x84\x01\x01a"
RESPONSE_BLOCK = b"\x88"


class Raw:
    """A connection of ours, and a peer that sends frames of any kind."""

    def __init__(self, *, is_client: bool = False, limits: Http2Limits | None = None, greets: bool = True) -> None:
        """``is_client``: ours is the client. ``greets``: the peer has sent its preface and SETTINGS."""
        self.receiver = RecordingReceiver()
        self.ours = Http2Connection(self.receiver, limits or Http2Limits(), FieldSections(), is_client=is_client)
        self.now = 1000.0
        if greets:
            self.feed((b"" if is_client else PREFACE) + frame(SETTINGS, 0, 0))
        self.take()
        self.receiver.take()

    def feed(self, data: bytes) -> None:
        """Send bytes. Raises Http2Error."""
        self.ours.feed(data, self.now)

    def take(self) -> list[tuple[int, int, int, bytes]]:
        """Return the frames of the output."""
        return frames(self.ours.take_output())

    def request(self, stream_id: int = 1, *, ended: bool = True) -> Http2Stream:
        """Send a request, and return its stream."""
        block = REQUEST_BLOCK if ended else POST_BLOCK
        self.feed(frame(HEADERS, END_HEADERS | (END_STREAM if ended else 0), stream_id, block))
        return self.ours.streams[stream_id]
