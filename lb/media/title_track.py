"""One track of a title in segments: what its playlist lists, and the bytes of each, made when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import attrs

from lb.media.frames import MediaError, MediaSample, TrackFormat
from lb.media.index import IndexedTrack
from lb.media.sample_table import StoredSample

__all__ = ["ServedTrack", "TitleTrack", "cut_audio", "cut_video"]

_MAX_SEGMENT = 64 << 20
"""Bytes of a segment: they are in memory while it is made."""
_SEGMENT_OVERHEAD = 160
_SAMPLE_OVERHEAD = 16
"""Bytes of a segment's boxes, in all and for each sample."""
_REORDERED = 32
"""The last frame that is shown is among so many that are decoded last."""
_PRIMING = Fraction(1, 10)
"""Seconds of sound before the begin that a decoder is given first. AAC has 45 ms at most, Opus 80 ms."""


@attrs.frozen(eq=False)
class ServedTrack:
    """The samples of a track that are served, with the title's clock.

    ``zero`` is the time, in seconds by the edit list, at which the title begins.
    """

    fd: int
    indexed: IndexedTrack
    zero: Fraction
    _zero_tick: int = attrs.field(init=False)
    end: int = attrs.field(init=False)
    """The number after that of the last sample. What the edit list ends before is not served."""

    @_zero_tick.default
    def _(self) -> int:
        return round(self.zero * self.format.timescale)

    @end.default
    def _after_the_last(self) -> int:
        stored = self.indexed.stored
        count = stored.table.count
        if stored.end is not None:
            while count > 1 and stored.table.pts(count - 1) + stored.shift >= stored.end:
                count -= 1
        return count

    @property
    def format(self) -> TrackFormat:
        return self.indexed.format

    def time(self, tick: int) -> int:
        """Return the title's time, in ticks of the written track, for a time in the file."""
        stored = self.indexed.stored
        return _rounded((tick + stored.shift) * self.format.timescale, stored.timescale) - self._zero_tick

    def tick(self, time: Fraction) -> int:
        """Return the first time in the file that is not before this time of the title in seconds."""
        stored = self.indexed.stored
        exact = (time + self.zero) * stored.timescale
        return -(-exact.numerator // exact.denominator) - stored.shift

    def key_frames(self) -> list[int]:
        """Return the numbers of the key frames, from the last that is shown at the begin or before."""
        table = self.indexed.stored.table
        numbers = list(range(self.end) if table.keys is None else table.keys)
        shown = [number for number in numbers if number < self.end]
        half = self.frame // 2
        early = 0
        while early + 1 < len(shown) and self.time(table.pts(shown[early + 1])) <= half:
            early += 1
        return shown[early:]

    @property
    def first_audio_sample(self) -> int:
        """The number of the first sample of audio that is served."""
        return self.indexed.stored.table.first_at(self.tick(-_PRIMING))

    @property
    def frame(self) -> int:
        """How long a frame is shown on average, in ticks of the written track."""
        table = self.indexed.stored.table
        length = (table.end - table.dts(0)) * self.format.timescale
        return length // (table.count * self.indexed.stored.timescale)

    @property
    def end_time(self) -> int:
        """When the last frame is over, in ticks of the written track."""
        end = self.end
        last = self.indexed.stored.table.samples(max(0, end - _REORDERED), end)
        return self.time(max(sample.pts + sample.duration for sample in last))


@attrs.frozen(eq=False)
class TitleTrack:
    """A track in segments. Times are in ticks of its format."""

    served: ServedTrack
    delay: int
    """How long before the first frame is shown its decoding begins."""
    bounds: tuple[int, ...]
    """The number of the first sample of each segment, and that after the last."""
    times: tuple[int, ...]
    """When the first frame of each segment is shown, and when the last is over."""
    sizes: tuple[int, ...]
    """Bytes of each segment, a little more than it has."""

    @property
    def format(self) -> TrackFormat:
        return self.served.format

    @property
    def count(self) -> int:
        return len(self.sizes)

    @property
    def seconds(self) -> list[float]:
        """How long each segment is."""
        scale = self.format.timescale
        return [(end - begin) / scale for begin, end in pairwise(self.times)]

    @property
    def peak_bitrate(self) -> int:
        """Bits a second of the segment that has most."""
        return max(round(8 * size / seconds) for size, seconds in zip(self.sizes, self.seconds, strict=True))

    @property
    def bitrate(self) -> int:
        """Bits a second on average."""
        return round(8 * sum(self.sizes) * self.format.timescale / (self.times[-1] - self.times[0]))

    @property
    def frame_rate(self) -> float:
        """Frames a second on average."""
        frames = self.bounds[-1] - self.bounds[0]
        return frames * self.format.timescale / (self.times[-1] - self.times[0])

    def init(self) -> bytes:
        """Return the initialization segment."""
        with self.served.indexed.writer(self.delay) as writer:
            return writer.init()

    def segment(self, number: int) -> bytes:
        """Return a segment. Raises OSError, :class:`MediaError` if the file is not what it was, IndexError."""
        first, end = self.bounds[number], self.bounds[number + 1]
        stored = self.served.indexed.stored.table.samples(first, end)
        samples = [self._read(sample) for sample in stored]
        with self.served.indexed.writer(self.delay) as writer:
            return writer.fragment(samples, number + 1)

    def _read(self, sample: StoredSample) -> MediaSample:
        data = os.pread(self.served.fd, sample.size, sample.position)
        if len(data) < sample.size:
            raise MediaError("the file has become shorter")
        dts = self.served.time(sample.dts)
        end = self.served.time(sample.dts + sample.duration)
        return MediaSample(dts, self.served.time(sample.pts), end - dts, sample.key, data)


def cut_video(served: ServedTrack, keys: Sequence[int]) -> TitleTrack:
    """Return a track of video whose segments begin with these key frames."""
    table = served.indexed.stored.table
    return _cut(served, keys, [served.time(table.pts(key)) for key in keys])


def cut_audio(served: ServedTrack, cuts: Sequence[Fraction]) -> TitleTrack:
    """Return a track of audio whose segments begin at the first frame at each cut, in seconds, or after it.

    The first segment needs no cut. It begins with the track, at the title's begin at the earliest: what comes before
    only primes the decoder.
    """
    table, end = served.indexed.stored.table, served.end
    first = served.first_audio_sample
    starts = sorted(
        {first, *(number for number in map(table.first_at, map(served.tick, cuts)) if first < number < end)}
    )
    times = [served.time(table.pts(start)) for start in starts]
    times[0] = max(0, times[0])
    return _cut(served, starts, times)


def _cut(served: ServedTrack, starts: Sequence[int], times: Sequence[int]) -> TitleTrack:
    bounds = (*starts, served.end)
    table = served.indexed.stored.table
    sizes = tuple(
        sum(table.sizes[first:end]) + _SEGMENT_OVERHEAD + (end - first) * _SAMPLE_OVERHEAD
        for first, end in pairwise(bounds)
    )
    if max(sizes) > _MAX_SEGMENT:
        raise MediaError(f"a segment of its {served.format.track} would have more than {_MAX_SEGMENT >> 20} MiB")
    times = (*times, served.end_time)
    if any(begin >= end for begin, end in pairwise(times)):
        raise MediaError(f"the times of its {served.format.track} are not in order")
    delay = max(0, -served.time(table.dts(starts[0])))
    return TitleTrack(served, delay, bounds, times, sizes)


def _rounded(value: int, divisor: int) -> int:
    return (2 * value + divisor) // (2 * divisor)
