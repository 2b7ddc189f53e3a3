"""What streams are made of: codecs, samples, and the form of what writes them as fragmented MP4."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import attrs

__all__ = [
    "AUDIO",
    "CODECS",
    "VIDEO",
    "VIDEO_TIMESCALE",
    "CodecConfig",
    "FragmentWriter",
    "MediaError",
    "MediaSample",
    "Track",
    "TrackFormat",
    "codec_string",
    "stream_cfg",
]

Track = Literal["video", "audio"]
"""A stream has at most one track of each kind."""
VIDEO: Track = "video"
AUDIO: Track = "audio"
VIDEO_TIMESCALE = 90_000
"""Ticks a second. Those of an audio track are its samples."""
CODECS: dict[str, Track] = {
    "avc1": VIDEO, "hvc1": VIDEO, "av01": VIDEO, "mp4a": AUDIO, "opus": AUDIO, "mp3": AUDIO,
}  # fmt: skip
"""H.264, HEVC, AV1; AAC, Opus, MP3: what players take in fragmented MP4."""
_AAC_ESCAPE = 31
_HEVC_RECORD = 13
"""Bytes of a HEVC configuration record that the codec's name comes from."""


class MediaError(Exception):
    """A stream or a title that cannot be packaged. The text says why, for people."""


@attrs.frozen
class CodecConfig:
    """What a decoder has to know before the first frame.

    ``record`` is the configuration as MP4 keeps it: the body of avcC, hvcC or av1C, an AudioSpecificConfig, an
    OpusHead. MP3 has none.
    """

    codec: str = attrs.field(validator=attrs.validators.in_(CODECS))
    record: bytes = b""

    @property
    def track(self) -> Track:
        return CODECS[self.codec]


@attrs.frozen
class TrackFormat:
    """A track as it is written: what playlists tell of it."""

    config: CodecConfig
    timescale: int
    """Ticks a second of its samples' times."""
    width: int = 0
    """Of video, in pixels."""
    height: int = 0
    channels: int = 0
    """Of audio."""

    @property
    def track(self) -> Track:
        return self.config.track


class MediaSample(NamedTuple):
    """One coded frame in MP4's form: video with lengths before its units, audio bare.

    Times are in ticks of the track. That of decoding (``dts``) grows from sample to sample; that of showing (``pts``)
    is not before it.
    """

    dts: int
    pts: int
    duration: int
    key: bool
    data: bytes


class FragmentWriter(Protocol):
    """Writes one track as fragmented MP4."""

    @property
    def format(self) -> TrackFormat: ...

    def init(self) -> bytes:
        """Return the initialization segment."""

    def fragment(self, samples: Sequence[MediaSample], sequence: int) -> bytes:
        """Return one fragment of all ``samples``; at least one. ``sequence`` counts fragments from 1.

        Raises :class:`MediaError` for samples that MP4 cannot hold.
        """


def stream_cfg(configs: Iterable[CodecConfig]) -> str:
    """Return what names this configuration of a stream in addresses: a CRC-32 in hex."""
    crc = 0
    for config in sorted(configs, key=lambda each: each.track, reverse=True):
        crc = zlib.crc32(config.record or config.codec.encode(), crc)
    return f"{crc:08x}"


def codec_string(config: CodecConfig) -> str:
    """Return the codec's name for CODECS (RFC 6381). Raises :class:`MediaError` if its record is too short for one."""
    try:
        return _STRINGS[config.codec](config.record)
    except IndexError:
        raise MediaError(f"the configuration of {config.codec} is cut off") from None


def _avc(record: bytes) -> str:
    return f"avc1.{record[1]:02x}{record[2]:02x}{record[3]:02x}"


def _hevc(record: bytes) -> str:
    """ISO/IEC 14496-15, annex E.3."""
    if len(record) < _HEVC_RECORD:
        raise IndexError
    space = ("", "A", "B", "C")[record[1] >> 6]
    compatible = int(f"{int.from_bytes(record[2:6]):032b}"[::-1], 2)
    tier = "H" if record[1] & 0x20 else "L"
    constraints = "".join(f".{byte:X}" for byte in record[6:12].rstrip(b"\0"))
    return f"hvc1.{space}{record[1] & 0x1F}.{compatible:X}.{tier}{record[12]}{constraints}"


def _av1(record: bytes) -> str:
    """The AV1 codec in ISO BMFF, section 5, without what may be left out."""
    profile, level = record[1] >> 5, record[1] & 0x1F
    tier = "H" if record[2] & 0x80 else "M"
    depth = 8 if not record[2] & 0x40 else 12 if record[2] & 0x20 else 10
    return f"av01.{profile}.{level:02}{tier}.{depth:02}"


def _aac(record: bytes) -> str:
    kind = record[0] >> 3
    if kind == _AAC_ESCAPE:
        kind = 32 + ((record[0] & 7) << 3 | record[1] >> 5)
    return f"mp4a.40.{kind}"


_STRINGS: dict[str, Callable[[bytes], str]] = {
    "avc1": _avc,
    "hvc1": _hevc,
    "av01": _av1,
    "mp4a": _aac,
    "opus": lambda _record: "opus",
    "mp3": lambda _record: "mp4a.40.34",
}
