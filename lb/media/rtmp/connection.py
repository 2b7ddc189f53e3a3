"""What both sides of a connection do alike: handshake, chunks, acknowledgements, pings, commands."""

from __future__ import annotations

import enum

from lb.media.rtmp.amf0 import MAX_AMF_BYTES, AmfValue, encode_amf0
from lb.media.rtmp.chunks import DEFAULT_CHUNK_BYTES, ChunkReader, write_chunks
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.handshake import RtmpHandshake
from lb.media.rtmp.message import MessageKind, RtmpMessage

__all__ = ["MAX_BYTES_WITHOUT_STREAM", "MAX_MEDIA_BYTES", "RtmpConnection", "UserControl"]

MAX_MEDIA_BYTES = 8 * 1024 * 1024
"""Of a message of audio or video, once the peer may send them."""
MAX_BYTES_WITHOUT_STREAM = 128 * 1024
"""That a peer may send before it has the right to a stream. Handshake and commands are about 5 KiB."""
_MAX_MESSAGES_WITHOUT_STREAM = 500
"""Likewise. Clients send about ten; empty ones would be read for half a second until the limit of bytes is reached."""
_MAX_UNSENT = 1024
"""Messages that wait to be sent: who asks for answers, such as pongs, and reads none, fills no memory."""
_SENT_CHUNK_BYTES = 64 * 1024
"""Few headers; ffmpeg uses the size that the server announces for what it sends itself."""
_WINDOW = 2_500_000
"""Bytes after which a side acknowledges, unless the other asks for another window."""
_DYNAMIC = b"\2"
"""The kind of a limit of bandwidth."""
_LARGEST_CHUNK = 0x7FFFFFFF
"""Bytes, by the format. No message is as long."""
_WRAP = 1 << 32


class UserControl(enum.IntEnum):
    """Events of messages of the kind user control that are used here."""

    STREAM_BEGIN = 0
    STREAM_END = 1
    PING = 6
    PONG = 7


class RtmpConnection:
    """One side of a connection. ``outgoing`` is to be sent after each call of anything here."""

    def __init__(self, handshake: RtmpHandshake) -> None:
        self._handshake = handshake
        self._reader = ChunkReader(MAX_AMF_BYTES)
        self._out: list[bytes] = []
        self._sent_chunk_bytes = DEFAULT_CHUNK_BYTES
        self._window = _WINDOW
        self._acknowledged = 0
        self._trusted = False
        self._messages = 0
        self._ended_stream = 0

    def trust(self) -> None:
        """Let the peer send as much as a stream needs."""
        self._trusted = True
        self._reader.max_message = MAX_MEDIA_BYTES

    def outgoing(self) -> bytes:
        """Return what is to be sent since the last call."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def send_bytes(self, data: bytes) -> None:
        """Send bytes of the handshake."""
        self._out.append(data)

    def send(self, message: RtmpMessage) -> None:
        """Send a message."""
        self._out.append(write_chunks(message, self._sent_chunk_bytes))

    def send_command(self, stream: int, *values: AmfValue) -> None:
        """Send the name of a command, the number of its transaction (0 = no answer is awaited) and its arguments."""
        self.send(RtmpMessage(MessageKind.COMMAND, stream, 0, encode_amf0(*values)))

    def send_user_control(self, event: UserControl, value: int) -> None:
        """Send an event about a stream, or an answer to a ping."""
        self._send_control(MessageKind.USER_CONTROL, event.to_bytes(2, "big") + value.to_bytes(4, "big"))

    def announce(self) -> None:
        """Tell the peer the sizes of window and chunks."""
        self._send_control(MessageKind.WINDOW_SIZE, _WINDOW.to_bytes(4, "big"))
        self._send_control(MessageKind.PEER_BANDWIDTH, _WINDOW.to_bytes(4, "big") + _DYNAMIC)
        self._send_control(MessageKind.SET_CHUNK_SIZE, _SENT_CHUNK_BYTES.to_bytes(4, "big"))
        self._sent_chunk_bytes = _SENT_CHUNK_BYTES

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer. Raises ProtocolError."""
        if not self._handshake.done:
            if answer := self._handshake.feed(data):
                self._out.append(answer)
            data = self._handshake.leftover() if self._handshake.done else b""
        self._reader.feed(data)
        if not self._trusted and self._reader.received > MAX_BYTES_WITHOUT_STREAM:
            raise ProtocolError(f"more than {MAX_BYTES_WITHOUT_STREAM} bytes without a stream", "limit")
        if self._reader.received - self._acknowledged >= self._window:
            self._acknowledged = self._reader.received
            self._send_control(MessageKind.ACKNOWLEDGEMENT, (self._acknowledged % _WRAP).to_bytes(4, "big"))

    def next_message(self) -> RtmpMessage | None:
        """Return the next message that is not about the connection itself. Raises ProtocolError."""
        while (message := self._reader.next_message()) is not None:
            self._messages += 1
            if not self._trusted and self._messages > _MAX_MESSAGES_WITHOUT_STREAM:
                raise ProtocolError(f"more than {_MAX_MESSAGES_WITHOUT_STREAM} messages without a stream", "limit")
            if len(self._out) > _MAX_UNSENT:
                raise ProtocolError(f"more than {_MAX_UNSENT} answers are awaited", "limit")
            if message.kind > MessageKind.PEER_BANDWIDTH:
                return message
            self._control(message)
        return None

    def peer_has_ended(self, stream: int) -> bool:
        """Return whether the peer has told that it plays nothing more on a stream."""
        return stream == self._ended_stream

    def _send_control(self, kind: MessageKind, payload: bytes) -> None:
        self.send(RtmpMessage(kind, 0, 0, payload))

    def _control(self, message: RtmpMessage) -> None:
        payload, number = message.payload, int.from_bytes(message.payload[:4], "big")
        if message.kind == MessageKind.USER_CONTROL:
            self._user_control(int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:6], "big"))
        elif len(payload) < 4:
            raise ProtocolError("a message about the connection is cut short")
        elif message.kind == MessageKind.SET_CHUNK_SIZE:
            if not 0 < number <= _LARGEST_CHUNK:
                raise ProtocolError(f"chunks cannot be {number} bytes long")
            self._reader.chunk_bytes = number
        elif message.kind == MessageKind.ABORT:
            self._reader.abort(number)
        elif message.kind == MessageKind.WINDOW_SIZE:
            self._window = number or _WINDOW

    def _user_control(self, event: int, value: int) -> None:
        if event == UserControl.PING:
            self.send_user_control(UserControl.PONG, value)
        elif event == UserControl.STREAM_END:
            self._ended_stream = value
