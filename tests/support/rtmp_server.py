"""A small RTMP server over :class:`lb.media.rtmp.server_session.RtmpServerSession`, and the programs that speak to it.

All are let in, unless there is a ``refusal``. Players get a stream from its next key frame on; they may wait for it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import defaultdict
from contextlib import asynccontextmanager, suppress

import trio

from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.handshake import NOISE_BYTES
from lb.media.rtmp.server_session import (
    PlayRequested,
    PublishRequested,
    RtmpServerSession,
    StreamEnded,
)
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig
from tests.support.balancer import PATIENCE
from tests.support.servers import serving

__all__ = ["RtmpServer", "output", "packets", "rtmp_server"]


class PublishedStream:
    """What a publisher has sent, and who plays it."""

    def __init__(self):
        self.key = None
        self.metadata = None
        self.configs = {}
        self.frames = []
        self.players = set()
        self.ended = trio.Event()
        self._joined = trio.Event()
        self._taken = trio.Event()

    def of(self, track):
        """Return the frames of a track."""
        return [frame for frame in self.frames if frame.track == track]

    def join(self, player):
        """Add a player."""
        self.players.add(player)
        self._joined.set()
        self._joined = trio.Event()

    async def has_players(self, count):
        """Wait until there are so many."""
        with trio.fail_after(PATIENCE):
            while len(self.players) < count:
                await self._joined.wait()

    async def has_frames(self, count):
        """Wait until so many have come."""
        with trio.fail_after(PATIENCE):
            while len(self.frames) < count:
                await self._taken.wait()

    def take(self, event):
        """Keep what has come, and pass it on."""
        self._taken.set()
        self._taken = trio.Event()
        if isinstance(event, StreamMetadata):
            self.metadata = event
        elif isinstance(event, TrackConfig):
            self.configs[event.track] = event
        elif isinstance(event, RtmpFrame):
            self.frames.append(event)
        for player in self.players:
            player.pass_on(event, self)


class Client:
    """One connection."""

    def __init__(self, server, stream):
        self.server = server
        self.stream = stream
        self.session = RtmpServerSession(os.urandom(NOISE_BYTES), trio.current_time())
        self.published = None
        self.played = None
        self.begun = False
        self._send, self._to_send = trio.open_memory_channel(10_000)

    async def run(self):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            try:
                async for data in self.stream:
                    events = self.session.receive(data, trio.current_time())
                    while events:
                        event = events.pop(0)
                        self.server.events.append(event)
                        events += self.act(event) or ()
                    self.flush()
            except trio.BrokenResourceError:
                pass
            finally:
                self.left()
                self.close()

    async def _write(self):
        with suppress(trio.BrokenResourceError):
            async for data in self._to_send:
                await self.stream.send_all(data)
            await self.stream.send_eof()

    def flush(self):
        if data := self.session.outgoing():
            with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                self._send.send_nowait(data)

    def close(self):
        """Send what is outgoing, then end the connection."""
        self.flush()
        self._send.close()

    def act(self, event):
        match event:
            case PublishRequested() | PlayRequested() if self.server.refusal is not None:
                self.session.refuse(self.server.refusal)
                self.close()
            case PublishRequested(app, name, key):
                self.published = self.server.streams[f"{app}/{name}"]
                self.published.key = key
                self.server.came.set()
                return self.session.accept(trio.current_time())
            case PlayRequested(app, name):
                self.played = self.server.streams[f"{app}/{name}"]
                self.played.join(self)
                return self.session.accept(trio.current_time())
            case TrackConfig() | RtmpFrame() | StreamMetadata() if self.published is not None:
                self.published.take(event)
            case StreamEnded():
                self.left()
            case ProtocolError():
                self.close()
        return None

    def pass_on(self, event, published):
        """Send a player what its publisher has sent."""
        if isinstance(event, RtmpFrame) and not self.begun and event.key and event.track == "video":
            self.begun = True
            if published.metadata is not None:
                self.session.send_metadata(published.metadata)
            for config in published.configs.values():
                self.session.send_config(config)
        if self.begun and isinstance(event, RtmpFrame):
            self.session.send_frame(event)
        elif self.begun and isinstance(event, TrackConfig):
            self.session.send_config(event)
        self.flush()

    def left(self):
        if self.published is not None:
            for player in self.published.players:
                player.session.end("the publisher has left")
                player.close()
            self.published.ended.set()
            self.published = None
        if self.played is not None:
            self.played.players.discard(self)
            self.played = None


class RtmpServer:
    """``streams`` by ``app/name``; ``events`` of all clients."""

    def __init__(self):
        self.refusal = None
        self.streams = defaultdict(PublishedStream)
        self.events = []
        self.came = trio.Event()
        self.port = 0

    def url(self, name):
        """Return the URL of a stream of the application ``live``."""
        return f"rtmp://127.0.0.1:{self.port}/live/{name}"

    async def serve(self, stream):
        """Serve a connection."""
        await Client(self, stream).run()


@asynccontextmanager
async def rtmp_server():
    """Run a server in this process."""
    server = RtmpServer()
    async with serving(server.serve) as served:
        server.port = int(served.address.rpartition(":")[2])
        yield server


async def output(*command, check=True):
    """Run a program that must succeed, and return what it prints."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.DEVNULL, check=check)
    return done.stdout


async def packets(ffprobe, path):
    """Return the packets of a file by its tracks: DTS and PTS in milliseconds, size, whether it is a key frame."""
    fields = "packet=codec_type,dts_time,pts_time,size,flags"
    found = json.loads(await output(ffprobe, "-show_entries", fields, "-of", "json", path))
    tracks = {"video": [], "audio": []}
    for packet in found["packets"]:
        if packet["codec_type"] not in tracks:  # metadata
            continue
        times = (round(float(packet[field]) * 1000) for field in ("dts_time", "pts_time"))
        tracks[packet["codec_type"]].append((*times, int(packet["size"]), packet["flags"].startswith("K")))
    return tracks
