"""Audio and video of enhanced RTMP: a codec is a FourCC. Of several tracks of a kind, the one with number 0 is read."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.plain_tags import KEY_FRAMES
from lb.media.rtmp.tag import MediaTag, TagBytes
from lb.media.rtmp.tracks import RtmpCodec, RtmpTrack

__all__ = ["AUDIO_FOURCCS", "VIDEO_FOURCCS", "PacketType", "read_enhanced_audio", "read_enhanced_video"]

VIDEO_FOURCCS: Mapping[bytes, RtmpCodec] = {b"avc1": "avc1", b"hvc1": "hvc1", b"av01": "av01"}
AUDIO_FOURCCS: Mapping[bytes, RtmpCodec] = {b"mp4a": "mp4a", b"Opus": "opus", b".mp3": "mp3"}
_FOURCCS: Mapping[RtmpTrack, Mapping[bytes, RtmpCodec]] = {"video": VIDEO_FOURCCS, "audio": AUDIO_FOURCCS}
_COMMAND = 5
_WITH_COMPOSITION = {"avc1", "hvc1"}
_ONE_TRACK, _MANY_CODECS = 0, 2
"""What may stand before several tracks."""


class PacketType(enum.IntEnum):
    """The same numbers for audio and video, but for several tracks."""

    CONFIG = 0
    FRAME = 1
    FRAME_WITHOUT_COMPOSITION = 3
    VIDEO_METADATA = 4
    AUDIO_TRACKS = 5
    VIDEO_TRACKS = 6
    MODIFIER = 7


def read_enhanced_video(data: bytes) -> MediaTag | None:
    """Return the configuration or the frame in a body, None if there is none. Raises ProtocolError."""
    body = TagBytes(data)
    first = body.number(1)
    frame, packet = first >> 4 & 7, _after_modifiers(body, first & 15)
    if packet == PacketType.VIDEO_METADATA or frame == _COMMAND:
        return None
    if packet == PacketType.VIDEO_TRACKS:
        return _track_zero("video", body, key=frame in KEY_FRAMES)
    return _tag(_codec("video", body.take(4)), packet, body, key=frame in KEY_FRAMES)


def read_enhanced_audio(data: bytes) -> MediaTag | None:
    """Likewise."""
    body = TagBytes(data)
    packet = _after_modifiers(body, body.number(1) & 15)
    if packet == PacketType.AUDIO_TRACKS:
        return _track_zero("audio", body, key=True)
    return _tag(_codec("audio", body.take(4)), packet, body, key=True)


def _after_modifiers(body: TagBytes, packet: int) -> int:
    """Skip modifiers, such as nanoseconds of the time. Return the type of the packet behind them."""
    while packet == PacketType.MODIFIER:
        size = body.number(1) + 1
        body.take(body.number(2) + 1 if size == 256 else size)
        packet = body.number(1) & 15
    return packet


def _codec(track: RtmpTrack, fourcc: bytes) -> RtmpCodec:
    codec = _FOURCCS[track].get(fourcc)
    if codec is None:
        raise ProtocolError(f"the {track} codec {fourcc.decode('ascii', 'backslashreplace')} is not supported", "codec")
    return codec


def _track_zero(track: RtmpTrack, body: TagBytes, *, key: bool) -> MediaTag | None:
    """Find the track with number 0."""
    first = body.number(1)
    several, packet = first >> 4, first & 15
    fourcc = b"" if several == _MANY_CODECS else body.take(4)
    while body.left:
        own = fourcc or body.take(4)
        number = body.number(1)
        part = TagBytes(body.rest() if several == _ONE_TRACK else body.take(body.number(3)))
        if number == 0:
            return _tag(_codec(track, own), packet, part, key=key)
    return None


def _tag(codec: RtmpCodec, packet: int, body: TagBytes, *, key: bool) -> MediaTag | None:
    if packet == PacketType.CONFIG:
        return MediaTag(codec, body.rest(), is_config=True)
    if packet == PacketType.FRAME:
        composition = body.composition() if codec in _WITH_COMPOSITION else 0
        return MediaTag(codec, body.rest(), key=key, composition=composition)
    if packet == PacketType.FRAME_WITHOUT_COMPOSITION:
        return MediaTag(codec, body.rest(), key=key)
    return None
