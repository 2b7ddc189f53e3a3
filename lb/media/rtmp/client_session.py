"""The client's side: it publishes a stream to a server, or plays one.

The caller sends ``outgoing()`` at the start and after each call, feeds what the server sends, and acts on the events.
A publisher sends once :class:`StreamStarted` has come. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from lb.media.rtmp.amf0 import AmfValue
from lb.media.rtmp.commands import Command, read_command
from lb.media.rtmp.connection import RtmpConnection
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.handshake import RtmpClientHandshake
from lb.media.rtmp.media_reader import MediaEvent, MediaReader
from lb.media.rtmp.message import RtmpMessage
from lb.media.rtmp.sending import SendingSession
from lb.media.rtmp.tracks import RtmpFrame
from lb.model.rtmp_address import RtmpAddress

__all__ = ["ClientEvent", "RtmpClientSession", "StreamDenied", "StreamFinished", "StreamStarted"]

_START_PATIENCE = 10.0
"""Seconds until the server has let the client in."""
_FIRST_MEDIA_PATIENCE = 20.0
_MEDIA_PATIENCE = 10.0
"""Seconds between two frames that are played."""
_CONNECT, _RELEASE, _FC_PUBLISH, _CREATE_STREAM, _REQUEST = 1, 2, 3, 4, 5
"""Numbers of the transactions."""
_STREAMS = 1 << 32
"""Numbers of streams are below."""
_LIVE = -1000
"""Where a player begins: only what is live."""
_CODECS: Mapping[str, AmfValue] = {"audioCodecs": 0x0404, "videoCodecs": 0x0080, "fourCcList": ["hvc1", "av01", "Opus"]}
"""MP3 and AAC, H.264, and what enhanced RTMP adds."""
_STARTED = {"publish": "NetStream.Publish.Start", "play": "NetStream.Play.Start"}
_FINISHED = {
    "NetStream.Play.Stop",
    "NetStream.Play.Complete",
    "NetStream.Play.UnpublishNotify",
    "NetStream.Unpublish.Success",
}


@attrs.frozen
class StreamStarted:
    """The server lets the client publish, or begins to play."""


@attrs.frozen
class StreamDenied:
    """The server does not let the client in. The caller closes."""

    text: str


@attrs.frozen
class StreamFinished:
    """The server has ended the stream, or plays nothing any more. The caller closes."""

    text: str


ClientEvent: TypeAlias = StreamStarted | StreamDenied | StreamFinished | MediaEvent | ProtocolError


class RtmpClientSession(SendingSession):
    """``noise``: random bytes for the handshake, ``NOISE_BYTES`` of them."""

    publishes = True

    def __init__(self, address: RtmpAddress, purpose: Literal["publish", "play"], noise: bytes, now: float) -> None:
        self.deadline = now + _START_PATIENCE
        """When to call ``expired``; infinite while nothing is awaited from the server."""
        self._address = address
        self._purpose = purpose
        self._handshake = RtmpClientHandshake(noise)
        super().__init__(RtmpConnection(self._handshake))
        self._connection.send_bytes(self._handshake.opening())
        self._asked = self._started = self._ended = False
        self._media = MediaReader()

    def receive(self, data: bytes, now: float) -> list[ClientEvent]:
        """Take bytes from the server. A ProtocolError is the last event, as is the end of the stream."""
        events: list[ClientEvent] = []
        try:
            if not self._ended:
                self._connection.receive(data)
                self._connect()
            while not self._ended and (message := self._connection.next_message()) is not None:
                self._read(message, events, now)
            if self._started and not self._ended and self._connection.peer_has_ended(self._stream):
                self._finish()
                events.append(StreamFinished("the stream has ended"))
        except ProtocolError as error:
            self._finish()
            events.append(error)
        return events

    def expired(self, now: float) -> list[ClientEvent]:
        """Return the end of a session whose deadline has come."""
        if now < self.deadline:
            return []
        self._finish()
        if self._started:
            return [StreamFinished("no audio or video for too long")]
        return [ProtocolError(f"the server has not answered within {_START_PATIENCE:g} s", "handshake")]

    def leave(self) -> None:
        """Tell the server that the stream ends."""
        if self._stream and not self._ended:
            if self._purpose == "publish":
                self._connection.send_command(0, "FCUnpublish", 0, None, self._address.name)
            self._connection.send_command(0, "deleteStream", 0, None, self._stream)
        self._finish()

    def _connect(self) -> None:
        """Name the application, once the handshake is done."""
        if self._asked or not self._handshake.done:
            return
        self._asked = True
        address = self._address
        fields = {"app": address.app, "type": "nonprivate", "flashVer": "FMLE/3.0 (trio-lb)", "tcUrl": address.app_url}
        self._connection.announce()
        self._connection.send_command(0, "connect", _CONNECT, {**fields, **_CODECS})

    def _read(self, message: RtmpMessage, events: list[ClientEvent], now: float) -> None:
        command = read_command(message)
        if command is not None:
            event = self._act(command, now)
            if event is not None:
                events.append(event)
        elif self._started and self._purpose == "play":
            for found in self._media.read(message):
                events.append(found)
                if isinstance(found, RtmpFrame):
                    self.deadline = now + _MEDIA_PATIENCE

    def _act(self, command: Command, now: float) -> ClientEvent | None:
        if command.name == "_result":
            self._go_on(command)
        elif command.name == "_error" and command.transaction not in (_RELEASE, _FC_PUBLISH):
            return self._refused(command.fields(1))
        elif command.name == "onStatus":
            return self._status(command.fields(1), now)
        return None

    def _go_on(self, command: Command) -> None:
        """Ask for what comes next."""
        send, name = self._connection.send_command, self._address.name
        if command.transaction == _CONNECT:
            if self._purpose == "publish":
                send(0, "releaseStream", _RELEASE, None, name)
                send(0, "FCPublish", _FC_PUBLISH, None, name)
            send(0, "createStream", _CREATE_STREAM, None)
        elif command.transaction == _CREATE_STREAM:
            number = command.number(1)
            if not 0 < number < _STREAMS:
                raise ProtocolError("the server has not created a stream")
            self._stream = int(number)
            if self._purpose == "publish":
                send(self._stream, "publish", _REQUEST, None, name, "live")
            else:
                send(self._stream, "play", _REQUEST, None, name, _LIVE)

    def _status(self, status: Mapping[str, AmfValue], now: float) -> ClientEvent | None:
        code = status.get("code")
        if code == _STARTED[self._purpose] and not self._started:
            self._started = True
            self._connection.trust()
            self.deadline = now + _FIRST_MEDIA_PATIENCE if self._purpose == "play" else math.inf
            return StreamStarted()
        if status.get("level") == "error":
            return self._refused(status)
        if code in _FINISHED:
            self._finish()
            return StreamFinished(_text(status))
        return None

    def _refused(self, status: Mapping[str, AmfValue]) -> ClientEvent:
        self._finish()
        text = _text(status)
        return StreamFinished(text) if self._started else StreamDenied(text)

    def _finish(self) -> None:
        self._ended, self.deadline = True, math.inf


def _text(status: Mapping[str, AmfValue]) -> str:
    return str(status.get("description") or status.get("code") or "the server gives no reason")
