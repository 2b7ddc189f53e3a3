"""When the samples of a track are decoded and shown, how long they are, and where in the file they lie.

A film of two hours has half a million samples. Of each, a table keeps its size, and of video also the time from its
decoding to its showing: 4 bytes each. Positions and times of decoding are kept for runs of samples.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate, chain, islice, pairwise, repeat
from typing import NamedTuple

import attrs

from lb.media.frames import MediaError
from lb.media.mp4_boxes import children, numbers, only_child

__all__ = ["SampleTable", "StoredSample", "read_sample_table"]

_COUNT = slice(4, 8)
_ENTRIES = 8
"""Where the entries of a table begin: after version, flags and their number."""
_MAX_OF_ONE_SIZE = 1 << 22
"""Samples of one size, of which the file's bytes say nothing: 28 hours of MP3."""
_MAX_DURATION = 1 << 31


class StoredSample(NamedTuple):
    """One sample. Times are in ticks of the track."""

    dts: int
    pts: int
    duration: int
    key: bool
    position: int
    size: int


@attrs.define(eq=False)
class SampleTable:
    """The samples of a track, in the order of decoding."""

    sizes: array[int] = attrs.field(factory=lambda: array("I"))
    offsets: array[int] = attrs.field(factory=lambda: array("i"))
    """From decoding to showing, in ticks. Empty if that is at the same time."""
    keys: array[int] | None = None
    """Numbers of the key frames; None: all are."""
    run_starts: array[int] = attrs.field(factory=lambda: array("I"))
    """Runs of samples with equal durations: the number of the first."""
    run_times: array[int] = attrs.field(factory=lambda: array("q"))
    """Its time of decoding."""
    run_durations: array[int] = attrs.field(factory=lambda: array("I"))
    chunk_starts: array[int] = attrs.field(factory=lambda: array("I"))
    """Runs of samples that follow each other in the file: the number of the first."""
    chunk_positions: array[int] = attrs.field(factory=lambda: array("Q"))

    @property
    def count(self) -> int:
        return len(self.sizes)

    @property
    def end(self) -> int:
        """When the last sample's decoding ends, in ticks."""
        if not self.run_starts:
            return 0
        return self.run_times[-1] + (self.count - self.run_starts[-1]) * self.run_durations[-1]

    def dts(self, number: int) -> int:
        run = bisect_right(self.run_starts, number) - 1
        return self.run_times[run] + (number - self.run_starts[run]) * self.run_durations[run]

    def pts(self, number: int) -> int:
        return self.dts(number) + (self.offsets[number] if self.offsets else 0)

    def first_at(self, time: int) -> int:
        """Return the number of the first sample that is decoded at this time in ticks or later; ``count`` if none."""
        run = bisect_right(self.run_times, time) - 1
        if run < 0:
            return 0
        end = self.run_starts[run + 1] if run + 1 < len(self.run_starts) else self.count
        return min(end, self.run_starts[run] - (self.run_times[run] - time) // self.run_durations[run])

    def is_key(self, number: int) -> bool:
        if self.keys is None:
            return True
        at = bisect_left(self.keys, number)
        return at < len(self.keys) and self.keys[at] == number

    def samples(self, first: int, end: int) -> Iterator[StoredSample]:
        """Yield the samples from ``first`` up to ``end``, without it."""
        chunk = bisect_right(self.chunk_starts, first) - 1
        position = self.chunk_positions[chunk] + sum(self.sizes[self.chunk_starts[chunk] : first])
        next_chunk = _start(self.chunk_starts, chunk + 1)
        run = bisect_right(self.run_starts, first) - 1
        next_run = _start(self.run_starts, run + 1)
        dts = self.dts(first)
        for number in range(first, end):
            if number == next_chunk:
                chunk += 1
                position, next_chunk = self.chunk_positions[chunk], _start(self.chunk_starts, chunk + 1)
            if number == next_run:
                run += 1
                dts, next_run = self.run_times[run], _start(self.run_starts, run + 1)
            size, duration = self.sizes[number], self.run_durations[run]
            pts = dts + (self.offsets[number] if self.offsets else 0)
            yield StoredSample(dts, pts, duration, self.is_key(number), position, size)
            position += size
            dts += duration

    def file_end(self) -> int:
        """Return the position where the last of its samples in the file ends."""
        if not self.chunk_starts:
            return 0
        position = max(self.chunk_positions)
        chunk = self.chunk_positions.index(position)
        end = self.chunk_starts[chunk + 1] if chunk + 1 < len(self.chunk_starts) else self.count
        return position + sum(self.sizes[self.chunk_starts[chunk] : end])

    def finish(self) -> None:
        """Make the table ready for use, once all is in it. Raises :class:`MediaError` if its times cannot be played.

        No sample is to be shown before it is decoded. Some writers let a film begin with its first picture, so that
        others are: all are decoded earlier then.
        """
        self._last_duration()
        if not all(self.run_durations):
            raise MediaError("it is damaged: two samples have the same time")
        if any(later < sooner for sooner, later in pairwise(self.run_times)):
            raise MediaError("it is damaged: its times go back")
        earlier = -min(self.offsets, default=0)
        if earlier > 0:
            self.offsets = array("i", [offset + earlier for offset in self.offsets])
            self.run_times = array("q", [time - earlier for time in self.run_times])
        if self.offsets and not any(self.offsets):
            self.offsets = array("i")

    def _last_duration(self) -> None:
        """Many writers do not know how long the last sample is, and write 0."""
        if len(self.run_starts) > 1 and self.run_durations[-1] == 0 and self.run_starts[-1] == self.count - 1:
            self.run_durations[-1] = self.run_durations[-2]


def _start(starts: array[int], run: int) -> int:
    """Return where a run begins; -1 if there is none."""
    return starts[run] if run < len(starts) else -1


def read_sample_table(stbl: memoryview, *, video: bool) -> SampleTable:
    """Return the table of a box ``stbl``, which :meth:`SampleTable.finish` has to see yet. Raises MediaError."""
    table = SampleTable(sizes=_sizes(stbl))
    _read_times(table, stbl)
    _read_offsets(table, stbl)
    _read_chunks(table, stbl)
    if video:
        for stss in children(stbl, b"stss"):
            table.keys = array("I", [number - 1 for number in numbers(stss[_ENTRIES:], "I") if number])
    return table


def _entries(stbl: memoryview, kind: bytes, width: int, type_: str = "I") -> array[int]:
    """Return the entries, of ``width`` numbers each, of a table. Raises MediaError if it is cut off."""
    body = only_child(stbl, kind)
    count = int.from_bytes(body[_COUNT]) * width
    found = numbers(body[_ENTRIES:], type_)
    if len(found) < count:
        raise MediaError(f"it is damaged: its table {kind.decode()} is too short")
    return found[:count]


def _sizes(stbl: memoryview) -> array[int]:
    body = only_child(stbl, b"stsz")
    size, count = numbers(body[4:12], "I")
    if size and count <= _MAX_OF_ONE_SIZE:
        return array("I", repeat(size, count))
    found = numbers(body[12:], "I")[:count]
    if len(found) < count:
        raise MediaError("it is damaged: its table stsz is too short")
    return found


def _read_times(table: SampleTable, stbl: memoryview) -> None:
    entries = _entries(stbl, b"stts", 2)
    counts, durations = entries[::2], entries[1::2]
    if sum(counts) < table.count or max(durations, default=0) >= _MAX_DURATION:
        raise MediaError("it is damaged: its table stts does not hold the times of all samples")
    start = time = 0
    for count, duration in zip(counts, durations, strict=True):
        if not count or start >= table.count:
            continue
        table.run_starts.append(start)
        table.run_times.append(time)
        table.run_durations.append(duration)
        start += count
        time += count * duration


def _read_offsets(table: SampleTable, stbl: memoryview) -> None:
    if next(children(stbl, b"ctts"), None) is None:
        return
    entries = _entries(stbl, b"ctts", 2, "i")
    spread = chain.from_iterable(map(repeat, entries[1::2], entries[::2]))
    table.offsets = array("i", islice(spread, table.count))
    table.offsets.extend(repeat(0, table.count - len(table.offsets)))


def _read_chunks(table: SampleTable, stbl: memoryview) -> None:
    large = next(children(stbl, b"co64"), None) is not None
    positions = _entries(stbl, b"co64", 1, "Q") if large else _entries(stbl, b"stco", 1)
    entries = _entries(stbl, b"stsc", 3)
    firsts = [*entries[::3], len(positions) + 1]
    spans = [end - first for first, end in pairwise(firsts)]
    if min(spans, default=0) < 0:
        raise MediaError("it is damaged: its table stsc goes back")
    lengths = list(islice(chain.from_iterable(map(repeat, entries[1::3], spans)), len(positions)))
    if sum(lengths) < table.count or (firsts[0] != 1 and table.count):
        raise MediaError("it is damaged: its table stsc does not hold all samples")
    starts = list(accumulate(lengths, initial=0))
    used = bisect_left(starts, table.count)
    if 0 in lengths[:used]:
        raise MediaError("it is damaged: its table stsc has a chunk without samples")
    table.chunk_starts, table.chunk_positions = array("I", starts[:used]), array("Q", positions[:used])
