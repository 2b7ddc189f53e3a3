"""Servers of RTMP for relays of streams, without sockets: a dialer that reaches them, and what they do."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair

from lb.media.rtmp.handshake import NOISE_BYTES
from lb.media.rtmp.server_session import PlayRequested, PublishRequested, RtmpServerSession, StreamEnded
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig
from lb.model.address import Client

__all__ = ["AUDIO_CONFIG", "PEER", "VIDEO_CONFIG", "FakeDialer", "FakeServer", "audio", "video"]

VIDEO_CONFIG = TrackConfig("video", "avc1", bytes.fromhex("0164001fffe1"))
AUDIO_CONFIG = TrackConfig("audio", "mp4a", b"\x11\x90")
PEER = Client("192.0.2.1", 1935)


def video(dts, *, key=False, data=b"picture"):
    return RtmpFrame("video", dts, dts, key, data)


def audio(dts, data=b"sound"):
    return RtmpFrame("audio", dts, dts, True, data)


class FakeServer:
    """Lets all in, unless ``refusal`` is set; ``silent``: it says nothing. ``items`` is what publishers send."""

    def __init__(self, *, refusal=None, silent=False, plays=()):
        self.refusal = refusal
        self.silent = silent
        self.plays = list(plays)
        """What players get."""
        self.asked = []
        self.items = []
        self.ends = []
        self.open = 0
        self.connections = 0
        self.sessions = []
        self._reads = trio.Event()
        self._reads.set()
        self.came = trio.Event()
        self._scopes = set()
        self._streams = {}
        self._refused = []

    async def serve(self, stream):
        self.open += 1
        self.connections += 1
        session = RtmpServerSession(os.urandom(NOISE_BYTES), trio.current_time())
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if self.silent:
                    async for _ in stream:
                        pass
                await self._converse(stream, session)
        finally:
            self._scopes.discard(scope)
            self.open -= 1
            with trio.CancelScope(shield=True):
                await stream.aclose()

    def cut(self):
        """Cut all connections."""
        for scope in self._scopes:
            scope.cancel()

    async def flush(self):
        """Send what players get."""
        for session, stream in self._streams.items():
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                if out := session.outgoing():
                    await stream.send_all(out)

    def stop_reading(self):
        """Take nothing more of what comes."""
        self._reads = trio.Event()

    async def _converse(self, stream, session):
        while True:
            await self._reads.wait()
            data = await stream.receive_some()
            if not data:
                return
            events = session.receive(bytes(data), trio.current_time())
            while events:
                events += self._act(session, events.pop(0), stream) or ()
            if out := session.outgoing():
                await stream.send_all(out)
            if session in self._refused:
                return

    def _act(self, session, event, stream):
        match event:
            case PublishRequested() | PlayRequested():
                self.asked.append(event)
                if self.refusal is not None:
                    session.refuse(self.refusal)
                    self._refused.append(session)
                    return None
                accepted = session.accept(trio.current_time())
                self.sessions.append(session)
                self._streams[session] = stream
                self.came.set()
                if isinstance(event, PlayRequested):
                    for item in self.plays:
                        self.send(session, item)
                return accepted
            case TrackConfig() | RtmpFrame() | StreamMetadata():
                self.items.append(event)
            case StreamEnded():
                self.ends.append(event.reason)
        return None

    @staticmethod
    def send(session, item):
        if isinstance(item, RtmpFrame):
            session.send_frame(item)
        elif isinstance(item, TrackConfig):
            session.send_config(item)
        else:
            session.send_metadata(item)


class FakeDialer:
    """Reaches the servers by host; others refuse. ``dialed`` are the times of its connects."""

    def __init__(self, nursery, servers, *, narrow=False):
        self._nursery = nursery
        self.servers = servers
        self.dialed = []
        self._pair = lockstep_stream_pair if narrow else memory_stream_pair

    async def connect(self, address):
        self.dialed.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        server = self.servers.get(address.host)
        if server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        ours, theirs = self._pair()
        self._nursery.start_soon(server.serve, theirs)
        return ours, PEER
