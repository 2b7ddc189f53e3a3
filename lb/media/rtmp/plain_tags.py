"""Audio and video as FLV has always had them: a codec is a number of four bits."""

from __future__ import annotations

from collections.abc import Mapping

from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.tag import MediaTag, check_length
from lb.media.rtmp.tracks import RtmpCodec

__all__ = ["KEY_FRAMES", "read_plain_audio", "read_plain_video"]

KEY_FRAMES = {1, 4}
"""Types of frames; 4 = made by a server."""
_COMMAND = 5
"""The type of a frame that is none."""
_AAC, _MP3_CODECS = 10, {2, 14}
_AUDIO_NAMES = {0: "PCM", 1: "ADPCM", 3: "PCM", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser", 11: "Speex"}
_VIDEO_CODECS: Mapping[int, RtmpCodec] = {7: "avc1", 12: "hvc1"}
"""12 is not Adobe's: encoders of before enhanced RTMP use it for HEVC."""
_VIDEO_NAMES = {2: "Sorenson H.263", 3: "Screen Video", 4: "VP6", 5: "VP6 with alpha", 6: "Screen Video 2"}
_CONFIG, _FRAME = 0, 1


def read_plain_audio(data: bytes) -> MediaTag | None:
    """Return the configuration or the frame in a body that is not empty, or None. Raises ProtocolError."""
    codec = data[0] >> 4
    if codec in _MP3_CODECS:
        return MediaTag("mp3", data[1:])
    if codec != _AAC:
        raise ProtocolError(f"the audio codec {_AUDIO_NAMES.get(codec, codec)} is not supported", "codec")
    check_length(data, 2)
    kind = data[1]
    return MediaTag("mp4a", data[2:], is_config=kind == _CONFIG) if kind in (_CONFIG, _FRAME) else None


def read_plain_video(data: bytes) -> MediaTag | None:
    """Likewise."""
    frame, number = data[0] >> 4, data[0] & 15
    if frame == _COMMAND:
        return None
    codec = _VIDEO_CODECS.get(number)
    if codec is None:
        raise ProtocolError(f"the video codec {_VIDEO_NAMES.get(number, number)} is not supported", "codec")
    check_length(data, 5)
    kind = data[1]
    if kind not in (_CONFIG, _FRAME):
        return None
    composition = int.from_bytes(data[2:5], "big", signed=True)
    return MediaTag(codec, data[5:], kind == _CONFIG, frame in KEY_FRAMES, composition)
