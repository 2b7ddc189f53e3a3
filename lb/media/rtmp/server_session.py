"""The server's side: one client that publishes or plays one stream.

The caller feeds what the client sends, acts on the events, and sends ``outgoing()`` before it reads more::

    for event in session.receive(data, now):
        ...                                     # PublishRequested: session.accept(now) or session.refuse("why")
    await stream.send_all(session.outgoing())

Nothing is read behind a request until it is accepted. After :class:`ProtocolError`, a refusal or ``end`` the caller
sends what is outgoing and closes. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import attrs

from lb.media.rtmp.amf0 import AmfValue
from lb.media.rtmp.commands import Command, read_command, status_object
from lb.media.rtmp.connection import RtmpConnection, UserControl
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.handshake import RtmpServerHandshake
from lb.media.rtmp.media_reader import MediaEvent, MediaReader
from lb.media.rtmp.sending import SendingSession
from lb.media.rtmp.stream_name import read_application, read_stream_name
from lb.media.rtmp.tracks import RtmpFrame

__all__ = ["Connected", "PlayRequested", "PublishRequested", "RtmpServerSession", "ServerEvent", "StreamEnded"]

_REQUEST_PATIENCE = 10.0
"""Seconds until the client has asked for a stream."""
_FIRST_MEDIA_PATIENCE = 20.0
_MEDIA_PATIENCE = 10.0
"""Seconds between two frames."""
_IGNORED = {"releaseStream", "FCPublish", "getStreamLength", "_checkbw", "FCSubscribe"}
"""Commands that clients send beside the others. They await an answer, and need none."""


@attrs.frozen
class Connected:
    """The client has named its application."""

    app: str
    url: str = attrs.field(repr=False)
    """As the client knows it; may hold a key."""


@attrs.frozen
class PublishRequested:
    """The client wants to publish. Answer with ``accept`` or ``refuse``."""

    app: str
    name: str
    key: str = attrs.field(repr=False)


@attrs.frozen
class PlayRequested:
    """The client wants to play. Answer with ``accept`` or ``refuse``."""

    app: str
    name: str
    key: str = attrs.field(repr=False)


@attrs.frozen
class StreamEnded:
    """``left``: the client has ended it. ``idle``: the publisher sends no frames. The caller may close."""

    reason: Literal["left", "idle"]


ServerEvent: TypeAlias = Connected | PublishRequested | PlayRequested | MediaEvent | StreamEnded | ProtocolError


class _State(enum.Enum):
    NEW = enum.auto()
    CONNECTED = enum.auto()
    ASKED_TO_PUBLISH = enum.auto()
    ASKED_TO_PLAY = enum.auto()
    PUBLISHING = enum.auto()
    PLAYING = enum.auto()
    ENDED = enum.auto()


_ASKED = {_State.ASKED_TO_PUBLISH, _State.ASKED_TO_PLAY}


class RtmpServerSession(SendingSession):
    """``noise``: random bytes for the handshake, ``NOISE_BYTES`` of them. ``now``: when the client came."""

    publishes = False

    def __init__(self, noise: bytes, now: float) -> None:
        super().__init__(RtmpConnection(RtmpServerHandshake(noise)))
        self.deadline = now + _REQUEST_PATIENCE
        """When to call ``expired``; infinite while nothing is awaited from the client."""
        self._state = _State.NEW
        self._app = ""
        self._streams = 0
        self._media = MediaReader()
        self._commands: Mapping[str, Callable[[Command, float], ServerEvent | None]] = {
            "connect": self._connect,
            "createStream": self._create_stream,
            "publish": self._publish,
            "play": self._play,
            "deleteStream": self._leave,
            "closeStream": self._leave,
            "FCUnpublish": self._leave,
        }

    def receive(self, data: bytes, now: float) -> list[ServerEvent]:
        """Take bytes from the client. A ProtocolError is the last event."""
        if self._state is _State.ENDED:
            return []
        events: list[ServerEvent] = []
        try:
            self._connection.receive(data)
        except ProtocolError as error:
            return [self._failed(error)]
        self._read(events, now)
        return events

    def expired(self, now: float) -> list[ServerEvent]:
        """Return the end of a session whose deadline has come."""
        if now < self.deadline:
            return []
        if self._state is _State.PUBLISHING:
            self.end("no audio or video for too long")
            return [StreamEnded("idle")]
        return [self._failed(ProtocolError(f"no stream was asked for within {_REQUEST_PATIENCE:g} s", "handshake"))]

    def accept(self, now: float) -> list[ServerEvent]:
        """Let the client publish or play. Return what it has sent meanwhile. Does nothing if it has failed since."""
        if self._state not in _ASKED:
            return []
        self._connection.trust()
        self._connection.send_user_control(UserControl.STREAM_BEGIN, self._stream)
        if self._state is _State.ASKED_TO_PUBLISH:
            self._state, self.deadline = _State.PUBLISHING, now + _FIRST_MEDIA_PATIENCE
            self._send_status("NetStream.Publish.Start", "go on")
        else:
            self._state, self.deadline = _State.PLAYING, math.inf
            self._send_status("NetStream.Play.Reset", "from here")
            self._send_status("NetStream.Play.Start", "it begins")
        events: list[ServerEvent] = []
        self._read(events, now)
        return events

    def refuse(self, text: str) -> None:
        """Tell the client why it may not publish or play."""
        if self._state in _ASKED:
            publishing = self._state is _State.ASKED_TO_PUBLISH
            code = "NetStream.Publish.BadName" if publishing else "NetStream.Play.StreamNotFound"
            self._send_status(code, text, level="error")
        self._finish()

    def end(self, text: str) -> None:
        """Tell a publisher why it is sent away, a player that its stream has ended."""
        if self._state is _State.PUBLISHING:
            self._send_status("NetStream.Failed", text, level="error")
        elif self._state is _State.PLAYING:
            self._connection.send_user_control(UserControl.STREAM_END, self._stream)
            self._send_status("NetStream.Play.UnpublishNotify", text)
        self._finish()

    def _read(self, events: list[ServerEvent], now: float) -> None:
        """Act on messages until a request is to be answered first."""
        try:
            while self._state not in _ASKED and (message := self._connection.next_message()) is not None:
                command = read_command(message)
                if command is not None:
                    event = self._act(command, now)
                    if event is not None:
                        events.append(event)
                elif self._state is _State.PUBLISHING:
                    for found in self._media.read(message):
                        events.append(found)
                        if isinstance(found, RtmpFrame):
                            self.deadline = now + _MEDIA_PATIENCE
        except ProtocolError as error:
            events.append(self._failed(error))

    def _act(self, command: Command, now: float) -> ServerEvent | None:
        """Answer a command, or leave that to the caller."""
        if (self._state is _State.NEW) != (command.name == "connect"):
            raise ProtocolError("connect is not the first command, or not the only one of its kind")
        act = self._commands.get(command.name)
        if act is not None:
            return act(command, now)
        if command.transaction:
            self._send_answer(command, known=command.name in _IGNORED)
        return None

    def _connect(self, command: Command, _now: float) -> Connected:
        fields = command.fields(0)
        app, url = fields.get("app"), fields.get("tcUrl")
        self._app = app if isinstance(app, str) else ""
        self._state = _State.CONNECTED
        self._connection.announce()
        server: Mapping[str, AmfValue] = {"fmsVer": "FMS/3,5,7,7009", "capabilities": 31}
        status: Mapping[str, AmfValue] = {
            **status_object("NetConnection.Connect.Success", "connected"),
            "objectEncoding": 0,
        }
        self._connection.send_command(0, "_result", command.transaction, server, status)
        return Connected(read_application(self._app), url if isinstance(url, str) else "")

    def _create_stream(self, command: Command, _now: float) -> None:
        self._streams += 1
        self._connection.send_command(0, "_result", command.transaction, None, self._streams)

    def _publish(self, command: Command, _now: float) -> PublishRequested:
        self._ask(command, _State.ASKED_TO_PUBLISH)
        asked = read_stream_name(self._app, command.text(1))
        return PublishRequested(asked.app, asked.name, asked.key)

    def _play(self, command: Command, _now: float) -> PlayRequested:
        self._ask(command, _State.ASKED_TO_PLAY)
        asked = read_stream_name(self._app, command.text(1))
        return PlayRequested(asked.app, asked.name, asked.key)

    def _ask(self, command: Command, state: _State) -> None:
        if self._state is not _State.CONNECTED:
            raise ProtocolError("a connection has one stream at a time")
        self._state, self.deadline = state, math.inf
        self._stream, self._media = command.stream, MediaReader()

    def _leave(self, command: Command, now: float) -> StreamEnded | None:
        """End the stream; clients say so up to three times."""
        if command.transaction:
            self._send_answer(command, known=True)
        if self._state not in (_State.PUBLISHING, _State.PLAYING):
            return None
        self._state, self.deadline = _State.CONNECTED, now + _REQUEST_PATIENCE
        return StreamEnded("left")

    def _send_answer(self, command: Command, *, known: bool) -> None:
        if known:
            self._connection.send_command(0, "_result", command.transaction, None, None)
        else:
            error = status_object("NetConnection.Call.Failed", "the command is not known", level="error")
            self._connection.send_command(0, "_error", command.transaction, None, error)

    def _send_status(self, code: str, text: str, *, level: str = "status") -> None:
        self._connection.send_command(self._stream, "onStatus", 0, None, status_object(code, text, level=level))

    def _failed(self, error: ProtocolError) -> ProtocolError:
        self._finish()
        return error

    def _finish(self) -> None:
        self._state, self.deadline = _State.ENDED, math.inf
