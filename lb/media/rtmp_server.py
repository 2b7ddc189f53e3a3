"""The server of publishers and players of RTMP, whom the balancer relays with a PROXY header."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import trio

from lb.events import RefusalReason, StreamRefused, UnpublishReason
from lb.media.player import PlayedItem, Player, send_in_time
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.handshake import NOISE_BYTES
from lb.media.rtmp.server_session import (
    PlayRequested,
    PublishRequested,
    RtmpServerSession,
    ServerEvent,
    StreamEnded,
)
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig
from lb.model.address import Client, client_of
from lb.net.gathering import gather
from lb.net.peer_user import is_own_user
from lb.proxy_protocol.endpoints import BadProxyHeader
from lb.proxy_protocol.header import HeaderReader

__all__ = ["Broadcast", "Publication", "RtmpApps", "feed", "serve_rtmp"]

_READ = 64 * 1024
_HEADER_TIMEOUT = 10.0
"""Seconds that the PROXY header may take. The balancer sends it at once."""


class Publication(Protocol):
    """A stream of a publisher who was let in."""

    def config(self, config: TrackConfig) -> None: ...

    def frame(self, frame: RtmpFrame) -> None: ...

    def metadata(self, metadata: StreamMetadata) -> None: ...

    def ended(self, reason: UnpublishReason) -> None:
        """The publisher has ended, if it was not sent away: then whoever did that knows the reason."""


def feed(publication: Publication, item: PlayedItem) -> None:
    """Give a publication what has come of its stream."""
    if isinstance(item, RtmpFrame):
        publication.frame(item)
    elif isinstance(item, TrackConfig):
        publication.config(item)
    else:
        publication.metadata(item)


class Broadcast(Protocol):
    """A stream that a player watches."""

    def leave(self, player: Player) -> None: ...


class RtmpApps(Protocol):
    """Who may publish and play what."""

    async def publish(
        self, asked: PublishRequested, client: Client, scope: trio.CancelScope
    ) -> Publication | RefusalReason:
        """Let a publisher in, or say why not. ``scope`` is cancelled to send it away later."""

    async def play(self, asked: PlayRequested, player: Player) -> Broadcast | None:
        """Let the player have the frames of a stream from now on; None if there is no such stream."""

    def refused(self, event: StreamRefused) -> None:
        """A client was refused."""


async def serve_rtmp(listening: socket.socket, apps: RtmpApps, failed: Callable[[Exception], None]) -> None:
    """Serve the connections of a listening socket until cancelled. ``failed`` reports a bug in one of them."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                if is_own_user(stream.socket):  # another could claim any client's address
                    await _RtmpClient(stream, apps).run()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has left
        except Exception as exception:  # noqa: BLE001 - a bug in one connection must not end the others
            failed(exception)

    await trio.serve_listeners(serve, [trio.SocketListener(trio.socket.from_stdlib_socket(listening))])


class _RtmpClient:
    """One connection."""

    def __init__(self, stream: trio.SocketStream, apps: RtmpApps) -> None:
        self._stream = stream
        self._apps = apps
        self._client = Client("", 0)
        self._asked = ""
        """The stream that the client has asked for."""
        self._publication: Publication | None = None
        self._session: RtmpServerSession
        self._scope = trio.CancelScope()
        """Cancelled to send a publisher away."""

    async def run(self) -> None:
        first: bytes | None = None
        with trio.move_on_after(_HEADER_TIMEOUT):
            first = await self._read_proxy_header()
        if first is None:
            return
        self._session = RtmpServerSession(os.urandom(NOISE_BYTES), trio.current_time())
        reason: UnpublishReason = "reset"
        try:
            with self._scope:
                reason = await self._serve(first)
        finally:
            if self._publication is not None:
                self._publication.ended(reason)

    async def _read_proxy_header(self) -> bytes | None:
        """Learn who the client is. Return what has come behind; None if the balancer has left."""
        reader = HeaderReader()
        while True:
            data = await self._stream.receive_some(_READ)
            if not data:
                return None
            try:
                taken = reader.take(data)
                if reader.complete:
                    endpoints = reader.endpoints
                    self._client = endpoints.source if endpoints is not None else client_of("")
                    return data[taken:]
            except BadProxyHeader:
                return None

    async def _serve(self, data: bytes) -> UnpublishReason:
        """Serve the client until it ends. Return why."""
        session = self._session
        while True:
            ended = await self._act(session.receive(data, trio.current_time())) if data else None
            await send_in_time(self._stream, session.outgoing())
            if ended is not None:
                return ended
            with trio.move_on_at(session.deadline) as waiting:
                if self._publication is not None and len(data) < _READ:  # else there is more to read at once
                    await gather()
                data = await self._stream.receive_some(_READ)
                if not data:
                    return "reset"
            if waiting.cancelled_caught:
                data = b""
                ended = await self._act(session.expired(trio.current_time()))
                await send_in_time(self._stream, session.outgoing())
                return ended or "idle"

    async def _act(self, events: list[ServerEvent]) -> UnpublishReason | None:
        """Act on what has come. Return why the connection ends, if it does."""
        for event in events:
            match event:
                case PublishRequested():
                    return await self._publish(event)
                case PlayRequested():
                    return await self._play(event)
                case StreamEnded():
                    return event.reason
                case ProtocolError():
                    return self._fault(event)
                case TrackConfig() | RtmpFrame() | StreamMetadata() if self._publication is not None:
                    feed(self._publication, event)
        return None

    def _fault(self, error: ProtocolError) -> UnpublishReason:
        if self._publication is None:
            reason: RefusalReason = error.reason if error.reason != "codec" else "protocol"
            self._apps.refused(StreamRefused(self._asked, str(self._client), reason))
        return "bad_stream"

    async def _publish(self, asked: PublishRequested) -> UnpublishReason | None:
        self._asked = f"{asked.app}/{asked.name}"
        answer = await self._apps.publish(asked, self._client, self._scope)
        if isinstance(answer, str):
            self._session.refuse({"key": "not allowed", "busy": "somebody publishes it"}.get(answer, "not allowed"))
            self._apps.refused(StreamRefused(self._asked, str(self._client), answer))
            return "left"
        self._publication = answer
        return await self._act(self._session.accept(trio.current_time()))

    async def _play(self, asked: PlayRequested) -> UnpublishReason:
        player = Player(self._session)
        broadcast = await self._apps.play(asked, player)
        if broadcast is None:
            self._session.refuse("there is no such stream")
            return "left"
        try:
            self._session.accept(trio.current_time())
            await send_in_time(self._stream, self._session.outgoing())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen_to_player, nursery.cancel_scope)
                with suppress(OSError, trio.BrokenResourceError):  # the player has left, or takes nothing
                    await player.run(self._stream)
                    await gather()  # GStreamer drops a frame that comes together with the end
                    self._session.end(player.ended)
                    await send_in_time(self._stream, self._session.outgoing())
                nursery.cancel_scope.cancel()
        finally:
            broadcast.leave(player)
        return "left"

    async def _listen_to_player(self, scope: trio.CancelScope) -> None:
        """Read what a player says, until it leaves."""
        with suppress(OSError, trio.BrokenResourceError):
            while data := await self._stream.receive_some(_READ):
                events = self._session.receive(data, trio.current_time())
                if any(isinstance(event, StreamEnded | ProtocolError) for event in events):
                    break
        scope.cancel()
