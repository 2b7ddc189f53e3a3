"""Chunks: messages are cut into pieces, and pieces of several messages may alternate."""

from __future__ import annotations

import attrs

from lb.media.rtmp.amf0 import MAX_AMF_BYTES
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.message import MessageKind, RtmpMessage

__all__ = ["DEFAULT_CHUNK_BYTES", "ChunkReader", "write_chunks"]

DEFAULT_CHUNK_BYTES = 128
"""Of payload, until a side announces another size."""
_MAX_CHUNK_STREAMS = 64
_MEDIA_KINDS = {MessageKind.AUDIO, MessageKind.VIDEO, MessageKind.AGGREGATE}
_EXTENDED = 0xFFFFFF
"""In place of a time: the time stands in four bytes behind the header."""
_WRAP = 1 << 32
_HEADER_BYTES = (11, 7, 3)
"""Of a message's header, by its form: whole; of the same stream; of the same length and kind too."""
_CONTINUED = 3
"""The form without a header."""
_CONTROL_STREAM = 2
_CHUNK_STREAMS = {MessageKind.COMMAND: 3, MessageKind.AUDIO: 4, MessageKind.DATA: 5, MessageKind.VIDEO: 6}
"""Where messages that are sent go, by their kind. The other kinds are about the connection."""


@attrs.define
class _ChunkStream:
    """What the next header may refer to, and the message that has begun."""

    kind: int = 0
    stream: int = 0
    length: int = 0
    timestamp: int = 0
    step: int = 0
    """How much later the next message is, if its chunk has no header."""
    extended: bytes = b""
    """The extended time of the last header, which chunks without a header repeat."""
    begun: bool = False
    body: bytearray = attrs.Factory(bytearray)


class ChunkReader:
    """Reads messages. It keeps at most ``max_message`` bytes of those that have not ended, all together.

    ``max_message`` also limits each message of audio and video; any other is at most 64 KiB long. Limits apply to
    messages that begin after they are set.
    """

    def __init__(self, max_message: int) -> None:
        self.max_message = max_message
        self.chunk_bytes = DEFAULT_CHUNK_BYTES
        self.received = 0
        """Bytes so far."""
        self._buffer = b""
        self._at = 0
        self._streams: dict[int, _ChunkStream] = {}
        self._current: _ChunkStream | None = None
        """Whose chunk has begun."""
        self._left = 0
        """Bytes of payload of that chunk that have not been read."""
        self._unfinished = 0

    def feed(self, data: bytes) -> None:
        """Add bytes from the peer."""
        self.received += len(data)
        self._buffer += data

    def next_message(self) -> RtmpMessage | None:
        """Return the next message, None if it has not ended yet. Raises ProtocolError."""
        while (stream := self._current or self._begin_chunk()) is not None:
            message = self._read_payload(stream)
            if message is not None:
                return message
            if self._left:
                break
        self._buffer, self._at = self._buffer[self._at :], 0
        return None

    def abort(self, number: int) -> None:
        """Forget the message that has begun on a chunk stream."""
        stream = self._streams.get(number)
        if stream is not None and stream.begun:
            self._unfinished -= len(stream.body)
            stream.begun = False

    def _begin_chunk(self) -> _ChunkStream | None:
        """Read what stands before the payload of a chunk, if it is all there."""
        buffer, at, end = self._buffer, self._at, len(self._buffer)
        if at == end:
            return None
        form, number = buffer[at] >> 6, buffer[at] & 63
        at += 1
        if number < 2:
            more = number + 1
            if end - at < more:
                return None
            number = 64 + int.from_bytes(buffer[at : at + more], "little")
            at += more
        stream = self._stream(number, form)
        at = self._continue(stream, at) if form == _CONTINUED else self._read_header(stream, form, at)
        if not at:
            return None
        self._at = at
        self._current = stream
        self._left = min(self.chunk_bytes, stream.length - len(stream.body))
        return stream

    def _stream(self, number: int, form: int) -> _ChunkStream:
        """Return a chunk stream. Some encoders begin one with the form that refers to the message before."""
        stream = self._streams.get(number)
        if stream is None:
            if form > 1:
                raise ProtocolError("a chunk continues a message that has not begun")
            if len(self._streams) == _MAX_CHUNK_STREAMS:
                raise ProtocolError(f"more than {_MAX_CHUNK_STREAMS} chunk streams", "limit")
            stream = self._streams[number] = _ChunkStream()
        return stream

    def _read_header(self, stream: _ChunkStream, form: int, at: int) -> int:
        """Begin a message if its header is all there. Return where it ends, else 0."""
        buffer, size = self._buffer, _HEADER_BYTES[form]
        header = buffer[at : at + size]
        if len(header) < size:
            return 0
        time, extended = int.from_bytes(header[:3], "big"), b""
        at += size
        if time == _EXTENDED:
            extended = buffer[at : at + 4]
            if len(extended) < 4:
                return 0
            time = int.from_bytes(extended, "big")
            at += 4
        if stream.begun:
            raise ProtocolError("a message begins inside another")
        if form < 2:
            stream.length, stream.kind = int.from_bytes(header[3:6], "big"), header[6]
        if form == 0:
            stream.stream, stream.timestamp = int.from_bytes(header[7:], "little"), 0
        stream.step, stream.extended = time, extended
        self._begin_message(stream)
        return at

    def _continue(self, stream: _ChunkStream, at: int) -> int:
        """Go on with a message, or begin one with the header of the last. Return where its payload begins, or 0."""
        if stream.extended:
            field = self._buffer[at : at + 4]
            if len(field) < 4:
                return 0
            if not stream.begun:
                stream.extended, stream.step = field, int.from_bytes(field, "big")
            if field == stream.extended:  # some encoders do not repeat it inside a message
                at += 4
        if not stream.begun:
            self._begin_message(stream)
        return at

    def _begin_message(self, stream: _ChunkStream) -> None:
        most = self.max_message if stream.kind in _MEDIA_KINDS else MAX_AMF_BYTES
        if stream.length > most:
            raise ProtocolError(f"a message is {stream.length} bytes long, more than {most}", "limit")
        stream.timestamp = (stream.timestamp + stream.step) % _WRAP
        stream.begun, stream.body = True, bytearray()

    def _read_payload(self, stream: _ChunkStream) -> RtmpMessage | None:
        """Read of the current chunk what is there. Return the message if it ends."""
        piece = self._buffer[self._at : self._at + self._left]
        if len(piece) == stream.length:  # most messages are a chunk
            self._at += len(piece)
            self._left, self._current, stream.begun = 0, None, False
            return RtmpMessage(stream.kind, stream.stream, stream.timestamp, piece)
        stream.body += piece
        self._at += len(piece)
        self._left -= len(piece)
        self._unfinished += len(piece)
        if self._unfinished > self.max_message:
            raise ProtocolError(f"messages of more than {self.max_message} bytes have not ended", "limit")
        if self._left:
            return None
        self._current = None
        if len(stream.body) < stream.length:
            return None
        payload, stream.body, stream.begun = bytes(stream.body), bytearray(), False
        self._unfinished -= len(payload)
        return RtmpMessage(stream.kind, stream.stream, stream.timestamp, payload)


def write_chunks(message: RtmpMessage, chunk_bytes: int) -> bytes:
    """Return a message in chunks with at most so many bytes of payload each."""
    number = _CHUNK_STREAMS.get(MessageKind(message.kind), _CONTROL_STREAM)
    payload, extended = message.payload, b""
    time = message.timestamp % _WRAP
    if time >= _EXTENDED:
        time, extended = _EXTENDED, time.to_bytes(4, "big")
    header = time.to_bytes(3, "big") + len(payload).to_bytes(3, "big") + bytes((message.kind,))
    pieces = [bytes((number,)), header, message.stream.to_bytes(4, "little"), extended, payload[:chunk_bytes]]
    again = bytes((_CONTINUED << 6 | number,)) + extended
    for at in range(chunk_bytes, len(payload), chunk_bytes):
        pieces += (again, payload[at : at + chunk_bytes])
    return b"".join(pieces)
