"""Fragmented MP4 by libav: one muxer for each fragment, which is as cheap as one that stays, and keeps nothing."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import attrs
import av
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from lb.media.flv import flv_file
from lb.media.frames import VIDEO, VIDEO_TIMESCALE, CodecConfig, MediaError, MediaSample, TrackFormat
from lb.media.mp4_boxes import boxes

__all__ = ["Fragmenter", "open_track", "track_format"]

_FRAGMENT = "empty_moov+default_base_moof+frag_custom+frag_discont+skip_trailer"
"""Not ``cmaf``: with its negative offsets, players made of FFmpeg show each fragment too late by the reordering."""
_INIT = "delay_moov+default_base_moof+frag_custom+skip_trailer"
"""The muxer sees a first sample before it writes the moov, and so the edit list that its times ask for."""
_OPTIONS = {
    "avoid_negative_ts": "disabled",
    "flush_packets": "0",
    "video_track_timescale": str(VIDEO_TIMESCALE),
}
_BUFFER = 1 << 18
_TAGS = {"hvc1": "hvc1"}
"""libav would write hev1, which Apple's players refuse."""
_FIRST_SAMPLES = {"av01": b"\x2a\x02\x01\x80"}
"""What stands for a first sample while the init segment is made. The muxer looks into those of AV1: one OBU of
metadata."""


@attrs.frozen
class Fragmenter:
    """Writes one track, taken from an open container, as fragmented MP4: a :class:`FragmentWriter`.

    The time of a fragment is that of its first sample's decoding plus ``delay``: how long before the first frame is
    shown its decoding begins, by reordering or priming. An edit list takes the delay off again, so that all samples
    are shown at their ``pts``, and no time is below 0 in a file that begins with ``dts`` of minus ``delay``.
    """

    _template: Stream
    format: TrackFormat
    delay: int = 0
    """In ticks of the track."""

    def init(self) -> bytes:
        """Return the initialization segment: ftyp and moov. Raises :class:`MediaError` if libav refuses the track."""
        data = _FIRST_SAMPLES.get(self.format.config.codec, bytes(8))
        pts = 0 if self.format.track == VIDEO else -self.delay
        sample = MediaSample(-self.delay, pts, 1, key=True, data=data)
        options = {"movflags": _INIT, "use_editlist": "1"}
        return self._written((sample,), options, (b"ftyp", b"moov"))

    def fragment(self, samples: Sequence[MediaSample], sequence: int) -> bytes:
        """Return one fragment, moof and mdat, of all ``samples``; at least one. ``sequence`` counts from 1.

        Raises :class:`MediaError` for samples that MP4 cannot hold.
        """
        options = {"movflags": _FRAGMENT, "use_editlist": "0", "fragment_index": str(sequence)}
        delayed = (sample._replace(dts=sample.dts + self.delay, pts=sample.pts + self.delay) for sample in samples)
        return self._written(delayed if self.delay else samples, options, (b"moof", b"mdat"))

    def _written(self, samples: Iterable[MediaSample], options: Mapping[str, str], kinds: tuple[bytes, ...]) -> bytes:
        """Return the boxes of these kinds from a file of these samples."""
        sink = _Sink()
        try:
            self._mux(sink, samples, {**_OPTIONS, **options})
        except (FFmpegError, ValueError, OverflowError) as error:
            raise MediaError(f"the muxer refuses {self.format.config.codec}: {error}") from error
        data = b"".join(sink.chunks)
        return b"".join(box.whole for box in boxes(memoryview(data)) if box.kind in kinds)

    def _mux(self, sink: _Sink, samples: Iterable[MediaSample], options: dict[str, str]) -> None:
        tick = Fraction(1, self.format.timescale)
        with av.open(sink, "w", format="mp4", options=options, buffer_size=_BUFFER) as output:
            stream = output.add_stream_from_template(self._template, opaque=True)
            stream.time_base = tick
            tag = _TAGS.get(self.format.config.codec)
            if tag is not None:
                stream.codec_context.codec_tag = tag
            for sample in samples:
                output.mux_one(_packet(sample, stream, tick))


def open_track(config: CodecConfig, frame: bytes) -> Fragmenter:
    """Return what writes the track of a live stream, whose first (key) frame this is.

    Raises :class:`MediaError` if libav cannot make a track of it.
    """
    try:
        container = av.open(io.BytesIO(flv_file(config, frame)), format="flv")
    except (FFmpegError, ValueError) as error:
        raise MediaError(f"{config.codec} cannot be read: {error}") from error
    if not container.streams:
        raise MediaError(f"{config.codec} cannot be read: no track is in it")
    stream = container.streams[0]
    return Fragmenter(stream, track_format(stream, config))


def track_format(stream: Stream, config: CodecConfig) -> TrackFormat:
    """Return how a track of an open container is written. Raises :class:`MediaError` if libav knows too little of it.

    ``config`` is what it was opened with, or what the container says.
    """
    if isinstance(stream, VideoStream) and config.track == VIDEO and stream.width and stream.height:
        return TrackFormat(config, VIDEO_TIMESCALE, width=stream.width, height=stream.height)
    if isinstance(stream, AudioStream) and config.track != VIDEO and stream.rate and stream.channels:
        return TrackFormat(config, stream.rate, channels=stream.channels)
    raise MediaError(f"the configuration of {config.codec} and its first frame say neither size nor rate")


class _Sink:
    """A file that is only written."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.chunks.append(bytes(data))
        return len(data)


def _packet(sample: MediaSample, stream: Stream, tick: Fraction) -> Packet[Stream]:
    packet = Packet(sample.data)
    packet.stream = stream
    packet.time_base = tick
    packet.dts, packet.pts, packet.duration = sample.dts, sample.pts, sample.duration
    packet.is_keyframe = sample.key
    return packet
