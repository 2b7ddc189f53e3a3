"""Messages of audio, video and metadata as configurations and frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from lb.media.rtmp.amf0 import MAX_AMF_BYTES, decode_amf0
from lb.media.rtmp.enhanced_tags import read_enhanced_audio, read_enhanced_video
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.message import MessageKind, RtmpMessage
from lb.media.rtmp.plain_tags import read_plain_audio, read_plain_video
from lb.media.rtmp.tag import MediaTag, TagBytes
from lb.media.rtmp.timestamps import UnwrappedTimestamps
from lb.media.rtmp.tracks import RtmpFrame, RtmpTrack, StreamMetadata, TrackConfig

__all__ = ["MediaEvent", "MediaReader"]

MediaEvent: TypeAlias = TrackConfig | RtmpFrame | StreamMetadata

_ENHANCED_AUDIO = 9
"""The number that stands in place of a codec's."""
_ENHANCED_VIDEO = 0x80
"""A bit of the first byte."""
_WRAP = 1 << 32
_MAX_PARTS = 4096
"""Messages in an aggregate message."""


class MediaReader:
    """Reads one stream.

    A configuration comes once, and again when it changes. Frames before the first configuration of their track are
    left out, for nobody could decode them.
    """

    def __init__(self) -> None:
        self._configs: dict[RtmpTrack, TrackConfig] = {}
        self._timestamps = UnwrappedTimestamps()

    def read(self, message: RtmpMessage) -> Iterator[MediaEvent]:
        """Read a message of any kind; those that are no media are left out. Raises ProtocolError."""
        parts = _parts(message) if message.kind == MessageKind.AGGREGATE else (message,)
        for part in parts:
            if part.kind == MessageKind.DATA:
                yield from _read_data(part.payload)
            elif part.kind == MessageKind.DATA_AMF3:
                yield from _read_data(part.payload[1:])
            elif part.payload and part.kind == MessageKind.AUDIO:
                yield from self._read_tag("audio", _audio_tag(part.payload), part.timestamp)
            elif part.payload and part.kind == MessageKind.VIDEO:
                yield from self._read_tag("video", _video_tag(part.payload), part.timestamp)

    def _read_tag(self, track: RtmpTrack, tag: MediaTag | None, timestamp: int) -> Iterator[MediaEvent]:
        if tag is None or not tag.data:
            return
        if tag.is_config:
            yield from self._configured(TrackConfig(track, tag.codec, tag.data))
            return
        if tag.codec == "mp3":
            yield from self._configured(TrackConfig(track, tag.codec, b""))
        config = self._configs.get(track)
        if config is not None and config.codec == tag.codec:
            dts = self._timestamps.unwrap(timestamp)
            yield RtmpFrame(track, dts, dts + tag.composition, tag.key, tag.data)

    def _configured(self, config: TrackConfig) -> Iterator[MediaEvent]:
        if len(config.record) > MAX_AMF_BYTES:
            raise ProtocolError(f"a sequence header is longer than {MAX_AMF_BYTES} bytes", "limit")
        if self._configs.get(config.track) != config:
            self._configs[config.track] = config
            yield config


def _audio_tag(payload: bytes) -> MediaTag | None:
    return read_enhanced_audio(payload) if payload[0] >> 4 == _ENHANCED_AUDIO else read_plain_audio(payload)


def _video_tag(payload: bytes) -> MediaTag | None:
    return read_enhanced_video(payload) if payload[0] & _ENHANCED_VIDEO else read_plain_video(payload)


def _read_data(payload: bytes) -> Iterator[MediaEvent]:
    """Read metadata: ``onMetaData``, maybe with ``@setDataFrame`` before it. Other data is left out."""
    values = decode_amf0(payload)
    if values[:1] == ["@setDataFrame"]:
        del values[0]
    if len(values) > 1 and values[0] == "onMetaData" and isinstance(values[1], Mapping):
        yield StreamMetadata(values[1])


def _parts(message: RtmpMessage) -> Iterator[RtmpMessage]:
    """Return the messages in an aggregate message, which are tags of an FLV file.

    The time of the aggregate is that of the first tag; times of the tags are put right by the difference.
    """
    body, shift, count = TagBytes(message.payload), None, 0
    while body.left:
        count += 1
        if count > _MAX_PARTS:
            raise ProtocolError(f"an aggregate message has more than {_MAX_PARTS} parts", "limit")
        kind, size = body.number(1), body.number(3)
        timestamp = body.number(3) | body.number(1) << 24
        body.take(3)
        if shift is None:
            shift = message.timestamp - timestamp
        yield RtmpMessage(kind, message.stream, (timestamp + shift) % _WRAP, body.take(size))
        body.take(4)
