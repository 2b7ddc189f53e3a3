"""A publisher without a network: frames with timestamps of RTMP, given to a live stream."""

from __future__ import annotations

import attrs

from lb.media.frames import AUDIO, VIDEO, CodecConfig, TrackFormat
from lb.media.live_stream import LiveStream, new_timeline
from lb.media.live_tracks import SegmentMemory
from lb.model import LiveSpec

NOW = 1_764_000_000.0
AVC = CodecConfig("avc1", bytes.fromhex("0164001fffe1"))
AAC = CodecConfig("mp4a", b"\x11\x90")
FRAME = 1_024 / 48_000
"""Seconds of a frame of sound."""


@attrs.frozen
class FakeWriter:
    """Writes fragments that tell their samples, a line each: what would be muxed."""

    config: CodecConfig

    @property
    def format(self):
        if self.config.track == VIDEO:
            return TrackFormat(self.config, 90_000, width=1280, height=720)
        return TrackFormat(self.config, 48_000, channels=2)

    def init(self):
        return b"init " + self.config.record

    def fragment(self, samples, sequence):
        return b"".join(b"%d %s\n" % (each.dts, each.data) for each in samples)


def live_stream(name="show", timeline=None, memory=1 << 30, open_track=None, after=-1, **settings):
    settings = LiveSpec("live", **settings)
    memory = memory if isinstance(memory, SegmentMemory) else SegmentMemory(memory)
    timeline = timeline or new_timeline(settings, after)
    return LiveStream(name, settings, timeline, memory, open_track or (lambda config, frame: FakeWriter(config)))


@attrs.define
class Publisher:
    """Sends video with a key frame every ``gop`` seconds, and sound, as real time goes on."""

    stream: LiveStream
    now: float = NOW
    timestamp: float = 0.0
    """The publisher's clock, in seconds."""
    gop: float = 2.0
    fps: int = 25
    tracks: tuple = (VIDEO, AUDIO)
    video: CodecConfig = AVC
    audio: CodecConfig = AAC
    mark: str = ""
    """In the data of its frames."""
    sent: dict = attrs.field(factory=lambda: {VIDEO: [], AUDIO: []})
    jumps: list = attrs.field(factory=list)
    _frames: int = 0
    _sounds: int = 0
    _begun: float = 0.0

    def connect(self):
        self.stream.published(self.now)
        self._begun = self.timestamp
        self._frames = self._sounds = 0
        for track, config in ((VIDEO, self.video), (AUDIO, self.audio)):
            if track in self.tracks:
                self.stream.configure(config, self.now)
        return self

    def send(self, seconds):
        """Send what is due in these seconds."""
        end = self.timestamp + seconds
        while self.timestamp < end - 1e-9:
            self.send_due()
            self.timestamp += 0.01
            self.now += 0.01
        return self

    def send_due(self):
        run = self.timestamp - self._begun + 1e-9
        while VIDEO in self.tracks and self._frames / self.fps <= run:
            key = self._frames % round(self.gop * self.fps) == 0
            self._send(VIDEO, self._frames / self.fps, 80, key)
            self._frames += 1
        while AUDIO in self.tracks and self._sounds * FRAME <= run:
            self._send(AUDIO, self._sounds * FRAME, 0, True)
            self._sounds += 1

    def _send(self, track, at, shift, key):
        data = f"{self.mark}{track[0]}{len(self.sent[track])}".encode()
        self.sent[track].append(data)
        dts = round((self._begun + at) * 1_000)
        self.jumps += self.stream.frame(track, dts, dts + shift, self.now, key=key, data=data)

    def jump(self, seconds):
        """The publisher's clock jumps."""
        self.timestamp += seconds
        self._begun += seconds

    def disconnect(self):
        self.stream.unpublished(self.now)
        return self

    def wait(self, seconds):
        """Time passes."""
        self.now += seconds
        return self


def get(stream, path, now, asked=None, **query):
    from lb.media.live_resources import live_resource

    return live_resource(stream, path, query, now if asked is None else asked, now)


def text(response):
    return b"".join(response.body).decode()
