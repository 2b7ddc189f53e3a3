"""A track's configuration and first frame as an FLV file: the form in which libav takes what RTMP brought."""

from __future__ import annotations

from lb.media.frames import VIDEO, CodecConfig

__all__ = ["flv_file"]

_HAS_VIDEO, _HAS_AUDIO = 1, 4
_AUDIO_TAG, _VIDEO_TAG = 8, 9
_HEADS = {
    "avc1": (b"\x17\x00\x00\x00\x00", b"\x17\x01\x00\x00\x00"),
    "hvc1": (b"\x90hvc1", b"\x93hvc1"),
    "av01": (b"\x90av01", b"\x91av01"),
    "mp4a": (b"\xaf\x00", b"\xaf\x01"),
    "opus": (b"\x90Opus", b"\x91Opus"),
    "mp3": (b"", b"\x2f"),
}
"""Codec -> what stands before its configuration, and before a key frame without a composition time: FLV 10.1, and
Enhanced RTMP 2 for those with four letters."""


def flv_file(config: CodecConfig, frame: bytes) -> bytes:
    """Return a file of one track: its configuration, and a first (key) frame."""
    configuration, coded = _HEADS[config.codec]
    is_video = config.track == VIDEO
    kind = _VIDEO_TAG if is_video else _AUDIO_TAG
    head = b"FLV\x01" + bytes((_HAS_VIDEO if is_video else _HAS_AUDIO,)) + b"\0\0\0\x09\0\0\0\0"
    return head + (_tag(kind, configuration + config.record) if configuration else b"") + _tag(kind, coded + frame)


def _tag(kind: int, body: bytes) -> bytes:
    size = len(body).to_bytes(3)
    return bytes((kind,)) + size + bytes(7) + body + (len(body) + 11).to_bytes(4)
