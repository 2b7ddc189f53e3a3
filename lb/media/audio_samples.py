"""How long frames of sound are, and ticks counted by them: the milliseconds of RTMP would make them uneven."""

from __future__ import annotations

import attrs

from lb.media.frames import VIDEO, TrackFormat

__all__ = ["FrameTicks", "samples_in"]

RESYNCHRONISE = 60
"""Milliseconds that counted samples may be away from the timestamps."""
_AAC_FRAME = 1_024
_MP3_FRAME = 1_152
_MP3_LOW_RATE = 32_000
"""Below it (MPEG-2), frames have half as many samples."""
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_OPUS_TICKS = (480, 960, 1_920, 2_880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4
"""Samples of one frame, at 48 kHz, by the configuration in a packet's first byte (RFC 6716, section 3.1)."""
_OPUS_LONGEST = 5_760


def samples_in(track: TrackFormat, data: bytes) -> int:
    """Return how many samples, of the track's rate, are in one frame of sound."""
    codec = track.config.codec
    if codec == "opus":
        return _opus_samples(data)
    if codec == "mp3":
        return _MP3_FRAME if track.timescale >= _MP3_LOW_RATE else _MP3_FRAME // 2
    return _AAC_FRAME * track.timescale // _aac_core_rate(track)


def _aac_core_rate(track: TrackFormat) -> int:
    """Return the rate that frames of 1024 samples have; HE-AAC is played at twice that rate."""
    record = track.config.record
    index = int.from_bytes(record[:2]) >> 7 & 15 if len(record) > 1 else 15
    return _AAC_RATES[index] if index < len(_AAC_RATES) else track.timescale


def _opus_samples(data: bytes) -> int:
    if not data:
        return _OPUS_TICKS[1]
    kind = data[0] & 3
    frames = (1, 2, 2)[kind] if kind < 3 else data[1] & 63 if len(data) > 1 else 1
    return min(max(frames, 1) * _OPUS_TICKS[data[0] >> 3], _OPUS_LONGEST)


@attrs.define
class FrameTicks:
    """Turns milliseconds of one track into its ticks, which always grow."""

    _track: TrackFormat
    _earliest: int
    """No frame is placed before it, in milliseconds."""
    _last: int = attrs.field(init=False)
    _next: int = attrs.field(default=-1, init=False)
    """Where the samples of the last frame of sound end; -1 before the first."""

    @_last.default
    def _before_the_first(self) -> int:
        return self._track.timescale * self._earliest // 1_000 - 1

    def place(self, milliseconds: int, data: bytes) -> int:
        """Return the tick of a frame: for sound, where the last one ended, if the timestamps do not contradict."""
        ticks = self._track.timescale * milliseconds // 1_000
        if self._track.track != VIDEO:
            if self._next >= 0 and abs(ticks - self._next) * 1_000 <= RESYNCHRONISE * self._track.timescale:
                ticks = self._next
            ticks = max(ticks, self._last + 1)
            self._next = ticks + samples_in(self._track, data)
        self._last = max(ticks, self._last + 1)
        return self._last
