"""What a stream is made of: the configuration of each track, its frames, and what the publisher tells about itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from lb.media.rtmp.amf0 import AmfValue

__all__ = ["RtmpCodec", "RtmpFrame", "RtmpTrack", "StreamMetadata", "TrackConfig"]

RtmpTrack: TypeAlias = Literal["video", "audio"]
RtmpCodec: TypeAlias = Literal["avc1", "hvc1", "av01", "mp4a", "opus", "mp3"]


@attrs.frozen
class TrackConfig:
    """``record``: the sequence header.

    That is the record of an MP4 file's ``avcC``, ``hvcC`` or ``av1C``, AAC's AudioSpecificConfig, Opus' identification
    header (RFC 7845, section 5.1); nothing for MP3.
    """

    track: RtmpTrack
    codec: RtmpCodec
    record: bytes


@attrs.frozen
class RtmpFrame:
    """Times are milliseconds; they do not wrap.

    ``data`` is as in an MP4 file: H.264 and HEVC with lengths before their units, AAC and Opus without framing.
    """

    track: RtmpTrack
    dts: int
    pts: int
    key: bool
    """Players may begin here. True for all audio."""
    data: bytes


@attrs.frozen
class StreamMetadata:
    """``onMetaData``, as the publisher's program wrote it: nothing in it is to be relied on."""

    values: Mapping[str, AmfValue]
