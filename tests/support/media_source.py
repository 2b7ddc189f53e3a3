"""Encoded test pictures and tones, made by libav: what a publisher sends, and files of it.

AV1 is stored. PyAV's only encoder of it, SVT-AV1, gives real-time priority (SCHED_FIFO, 99) to its threads and to that
which opens it, if root runs it. All programs that a test starts from there inherit it, and one of them in a loop leaves
a machine no time for anything else.
"""

from __future__ import annotations

import functools
import io
from fractions import Fraction

import attrs
import av

from lb.media.frames import CODECS, VIDEO, VIDEO_TIMESCALE, CodecConfig, MediaSample
from tests.support.paths import DATA

ENCODERS = {
    "avc1": "libx264", "hvc1": "libx265", "mp4a": "aac", "opus": "libopus", "mp3": "libmp3lame",
}  # fmt: skip
OPTIONS = {
    "avc1": {"preset": "ultrafast", "x264-params": "bframes=2:b-adapt=0:keyint=25:min-keyint=25:scenecut=0"},
    "hvc1": {"preset": "ultrafast", "x265-params": "log-level=none:keyint=25:bframes=2:b-adapt=0:pools=1"},
}
"""A key frame each second, at 25 frames a second; frames out of order where the codec can."""
STORED = {"av01": DATA / "media" / "av1.mp4"}
"""Eight seconds of testsrc2 by libaom, with a key frame each second, too."""
FPS = 25
WIDTH, HEIGHT = 192, 128
RATE = 48_000
BLOCK = 1_000
"""Samples of sound that are given to the encoder at a time."""


@attrs.frozen
class Encoded:
    """One track of a file. Times are in ticks of the track; the first frame is shown at 0."""

    config: CodecConfig
    timescale: int
    samples: tuple[MediaSample, ...]


@functools.cache
def encoded(codec, seconds=3):
    """Return a track of this codec."""
    with av.open(io.BytesIO(movie(codec, seconds=seconds))) as container:
        stream = container.streams[0]
        timescale = VIDEO_TIMESCALE if CODECS[codec] == VIDEO else RATE
        ticks = stream.time_base * timescale
        samples = [
            MediaSample(
                round(each.dts * ticks),
                round(each.pts * ticks),
                round(each.duration * ticks),
                each.is_keyframe,
                bytes(each),
            )
            for each in container.demux(stream)
            if each.dts is not None
        ]
        return Encoded(CodecConfig(codec, stream.codec_context.extradata or b""), timescale, tuple(samples))


@functools.cache
def movie(*codecs, seconds=3):
    """Return an MP4 file with tracks of these codecs."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        for packets in [added(container, codec, seconds) for codec in codecs]:
            container.mux(packets)
    return file.getvalue()


def added(container, codec, seconds, **settings):
    """Add a stream to a container, with these settings of its encoder. Return its packets."""
    if codec in STORED:
        return _stored(container, codec, seconds)
    stream = _add_stream(container, codec)
    for name, value in settings.items():
        setattr(stream.codec_context, name, value)
    frames = pictures(seconds) if stream.type == VIDEO else tones(seconds)
    return [packet for frame in (*frames, None) for packet in stream.encode(frame)]


def _stored(container, codec, seconds):
    with av.open(str(STORED[codec])) as source:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        packets = [each for each in source.demux(video=0) if each.size and each.pts * each.time_base < seconds]
    assert len(packets) == seconds * FPS, f"{STORED[codec]} has not so much"
    for packet in packets:
        packet.stream = stream
    return packets


def _add_stream(container, codec):
    if CODECS[codec] != VIDEO:
        return container.add_stream(ENCODERS[codec], rate=RATE, layout="mono")
    stream = container.add_stream(ENCODERS[codec], rate=FPS, options=OPTIONS[codec])
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    if codec == "hvc1":
        stream.codec_context.codec_tag = codec
    return stream


def pictures(seconds):
    """A grey that changes, with a stripe that moves."""
    for number in range(seconds * FPS):
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane in frame.planes:
            row = bytearray([number * 5 % 256]) * plane.line_size
            row[number % plane.width] = 255 - row[0]
            plane.update(bytes(row) * plane.height)
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        yield frame


def tones(seconds):
    """A rectangle of 240 Hz."""
    wave = (b"\x00\x20" * 100 + b"\x00\xe0" * 100) * (BLOCK // 200)
    for number in range(seconds * RATE // BLOCK):
        frame = av.AudioFrame(format="s16", layout="mono", samples=BLOCK)
        frame.planes[0].update(wave)
        frame.pts, frame.time_base, frame.sample_rate = number * BLOCK, Fraction(1, RATE), RATE
        yield frame
