"""A balancer with live streams, and who publishes to it: a film by the project's own RTMP client, or by ffmpeg."""

from __future__ import annotations

import functools
import subprocess
from contextlib import asynccontextmanager

import attrs
import av
import trio

from lb.media.frames import AUDIO, CODECS
from lb.media.rtmp.tracks import RtmpFrame, TrackConfig
from tests.support.balancer import killed_at_end, with_workers
from tests.support.paths import DATA
from tests.support.rtmp_client import rtmp_client

__all__ = [
    "FILM",
    "Film",
    "FilmPublisher",
    "film_frames",
    "live_config",
    "publish_command",
    "publishing",
    "stream_url",
]

FILM = DATA / "media" / "avc-aac.mp4"
"""8 seconds: 20 pictures a second of 96 x 64, some with reordering, a key frame each half second; sound of 16 kHz."""
KEY = "secret"
_NAMES = {"h264": "avc1", "hevc": "hvc1", "av1": "av01", "aac": "mp4a", "opus": "opus", "mp3": "mp3"}


def live_config(app="", *, media="", listener="", web="", route="", top=""):
    """Return a configuration: the listeners ``rtmp`` and ``web``, the application ``live``, the cache ``zone``.

    Anybody publishes with the key ``secret``. Arguments are lines of TOML.
    """
    publish = "" if "publish = [" in app else f'publish = [{{ name = "*", key = "{KEY}" }}]'
    segment = "" if "segment =" in app else 'segment = "500ms"'
    return with_workers(
        f'{top}\n[listeners.rtmp]\nmode = "rtmp"\nbind = "127.0.0.1:0"\n{listener}\n'
        f'[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\n{web}\n'
        f'[[listeners.web.routes]]\nname = "live"\npath = "/live/"\nmedia = "live"\n{route}\n'
        '[listeners.web.routes.cache]\nzone = "zone"\nstatus_header = "X-Cache-Status"\n'
        f"[caches.zone]\n[media]\n{media}\n[media.live.live]\n{segment}\n{publish}\n{app}\n"
    )


def stream_url(lb, name="show", *, key=KEY, app="live", listener="rtmp"):
    return f"rtmp://127.0.0.1:{lb.ports[listener]}/{app}/{name}" + (f"?key={key}" if key else "")


@attrs.frozen
class Film:
    """Frames of one turn, by their times of decoding, and how long it takes, in milliseconds."""

    configs: tuple[TrackConfig, ...]
    frames: tuple[RtmpFrame, ...]
    length: int


@functools.cache
def film_frames(path=FILM, length=8_000):
    """Return a film. What lies beyond its length is left out, so that turns can follow each other."""
    with av.open(path) as container:
        configs = [
            TrackConfig(each.type, _NAMES[each.codec.canonical_name], each.codec_context.extradata or b"")
            for each in container.streams
        ]
        found = []
        for packet in container.demux():
            if packet.dts is not None:
                dts, pts = (int(time * packet.time_base * 1_000) for time in (packet.dts, packet.pts))
                found.append(RtmpFrame(packet.stream.type, dts, pts, packet.is_keyframe, bytes(packet)))
    assert {config.codec for config in configs} <= set(CODECS)
    first = min(frame.dts for frame in found)
    moved = [attrs.evolve(frame, dts=frame.dts - first, pts=frame.pts - first) for frame in found]
    frames = [frame for frame in moved if frame.dts < length]
    return Film(tuple(configs), tuple(sorted(frames, key=lambda frame: frame.dts)), length)


class FilmPublisher:
    """Sends a film, turn after turn. ``sent`` are its frames so far, with the times that it gave them."""

    def __init__(self, client, film, tracks):
        self.client = client
        self.film = film
        self.tracks = tracks
        self.sent = []
        self.time = 0
        """Of the next frame, in milliseconds from the begin; a test may set ``shift`` to make timestamps jump."""
        self.shift = 0
        self._next = 0
        self._turn = 0

    def _upcoming(self):
        frame = self.film.frames[self._next]
        return self._turn * self.film.length + frame.dts, frame

    async def configure(self):
        for config in self.film.configs:
            if config.track in self.tracks:
                self.client.session.send_config(config)
        await self.client.flush()

    async def send(self, seconds, *, keys=True):
        """Send the next seconds at once. Without ``keys``, no picture is a key frame."""
        await self._send_until(self.time + round(seconds * 1_000), keys=keys)

    async def follow(self, seconds=float("inf"), *, task_status=trio.TASK_STATUS_IGNORED):
        """Send the film in real time."""
        began, first = trio.current_time(), self.time
        task_status.started()
        while (done := trio.current_time() - began) < seconds:
            await self._send_until(first + round(done * 1_000))
            await trio.sleep(0.04)

    async def _send_until(self, end, *, keys=True):
        while self._upcoming()[0] < end:
            at, frame = self._upcoming()
            self._next = (self._next + 1) % len(self.film.frames)
            self._turn += self._next == 0
            if frame.track in self.tracks:
                key = frame.key and (keys or frame.track == AUDIO)
                moved = attrs.evolve(frame, dts=at + self.shift, pts=at + frame.pts - frame.dts + self.shift, key=key)
                self.sent.append(moved)
                self.client.session.send_frame(moved)
        self.time = end
        await self.client.flush()

    def of(self, track):
        return [frame for frame in self.sent if frame.track == track]

    async def leave(self):
        """End the stream as a publisher should."""
        await self.client.leave()


@asynccontextmanager
async def publishing(lb, name="show", *, film=None, tracks=("video", "audio"), **url):
    """Publish by the project's own client. Yield the :class:`FilmPublisher`; the end of the block cuts it off."""
    async with rtmp_client(stream_url(lb, name, **url), "publish") as client:
        publisher = FilmPublisher(client, film or film_frames(), tracks)
        await publisher.configure()
        yield publisher


def publish_command(ffmpeg, url, film=FILM, *, again=True):
    """Return the command that publishes a film in real time, again and again, and encodes nothing."""
    turns = ("-stream_loop", "-1") if again else ()
    return [ffmpeg, "-nostdin", "-v", "error", "-re", *turns, "-i", film, "-c", "copy", "-f", "flv", url]


@asynccontextmanager
async def publishing_by(command):
    """Run a program that publishes, and kill it at the end of the block."""
    process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    async with killed_at_end(process):
        yield process
