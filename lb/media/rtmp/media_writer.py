"""Configurations, frames and metadata as messages of a stream. H.264, AAC and MP3 in the plain form that all know."""

from __future__ import annotations

from lb.media.rtmp.amf0 import encode_amf0
from lb.media.rtmp.enhanced_tags import AUDIO_FOURCCS, VIDEO_FOURCCS, PacketType
from lb.media.rtmp.message import MessageKind, RtmpMessage
from lb.media.rtmp.tracks import RtmpCodec, RtmpFrame, RtmpTrack, StreamMetadata, TrackConfig

__all__ = ["write_config", "write_frame", "write_metadata"]

_KINDS = {"audio": MessageKind.AUDIO, "video": MessageKind.VIDEO}
_FOURCC_OF = {codec: fourcc for fourccs in (VIDEO_FOURCCS, AUDIO_FOURCCS) for fourcc, codec in fourccs.items()}
_PLAIN_AVC, _PLAIN_AAC, _PLAIN_MP3 = 7, 0xAF, 0x2F
"""The codec with, for audio, 44 kHz, 16 bits and stereo: always so for AAC, of no weight for MP3."""
_ENHANCED_AUDIO, _ENHANCED_VIDEO = 0x90, 0x80
_KEY, _INTER = 0x10, 0x20
_PLAIN_CONFIG, _PLAIN_FRAME = b"\0", b"\1"
_NO_COMPOSITION = bytes(3)
_COMPOSITIONS = range(-(1 << 23), 1 << 23)
"""Milliseconds that fit."""
_WRAP = 1 << 32


def write_config(config: TrackConfig, timestamp: int, stream: int) -> RtmpMessage | None:
    """Return the message for a configuration, None if the codec needs none. ``timestamp`` is in milliseconds."""
    if config.codec == "mp3":
        return None
    head = _head(config.track, config.codec, PacketType.CONFIG, key=True)
    if config.codec == "avc1":
        head += _PLAIN_CONFIG + _NO_COMPOSITION
    elif config.codec == "mp4a":
        head += _PLAIN_CONFIG
    return RtmpMessage(_KINDS[config.track], stream, timestamp % _WRAP, head + config.record)


def write_frame(frame: RtmpFrame, codec: RtmpCodec, stream: int) -> RtmpMessage:
    """Return the message for a frame."""
    head = _head(frame.track, codec, PacketType.FRAME, key=frame.key)
    if codec in ("avc1", "mp4a"):
        head += _PLAIN_FRAME
    if codec in ("avc1", "hvc1"):
        head += _composition(frame)
    return RtmpMessage(_KINDS[frame.track], stream, frame.dts % _WRAP, head + frame.data)


def write_metadata(metadata: StreamMetadata, stream: int, *, publishing: bool) -> RtmpMessage:
    """Return the message for metadata; a publisher asks the server to keep it."""
    before = ("@setDataFrame",) if publishing else ()
    return RtmpMessage(MessageKind.DATA, stream, 0, encode_amf0(*before, "onMetaData", metadata.values))


def _head(track: RtmpTrack, codec: RtmpCodec, packet: PacketType, *, key: bool) -> bytes:
    """Return the first byte, and the FourCC if there is one."""
    if codec == "mp4a":
        return bytes((_PLAIN_AAC,))
    if codec == "mp3":
        return bytes((_PLAIN_MP3,))
    frame = _KEY if key else _INTER
    if codec == "avc1":
        return bytes((frame | _PLAIN_AVC,))
    first = _ENHANCED_VIDEO | frame if track == "video" else _ENHANCED_AUDIO
    return bytes((first | packet,)) + _FOURCC_OF[codec]


def _composition(frame: RtmpFrame) -> bytes:
    composition = frame.pts - frame.dts
    return composition.to_bytes(3, "big", signed=True) if composition in _COMPOSITIONS else _NO_COMPOSITION
