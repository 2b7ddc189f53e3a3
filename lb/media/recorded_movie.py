"""A recording: the fragments that players get of a stream's tracks, one after the other in one fragmented MP4.

Each fragment is a box ``moof`` and its ``mdat``, of one track. In a file of several tracks, all that differs is the
number of the track, the number of the fragment, and the time: a recording begins at 0, for players show its times.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from lb.media.frames import AUDIO, VIDEO, Track
from lb.media.live_run import LiveFragment
from lb.media.mp4_boxes import BOX_HEADER, box_header, only_child, written_box

__all__ = ["RecordedMovie"]

_NUMBER = struct.Struct(">I")
_TIME = struct.Struct(">Q")
_BEHIND_FLAGS = 4
"""Where the body of a box begins that has a version and flags."""
_TRACK_IN_TKHD = 12
_DURATION_IN_MVHD, _NEXT_TRACK_IN_MVHD = 16, 96
"""Behind two times of 32 bits: libav writes short ones, all 0."""
_SMALL_HEADER = 8
_LONGEST = (1 << 32) - 1
"""Milliseconds, 49 days, that the header can tell."""


class RecordedMovie:
    """Makes a file of fragments of one configuration. ``firsts`` has the first of each track.

    The movie begins with the first of them, at a whole millisecond.
    """

    def __init__(self, firsts: Sequence[LiveFragment]) -> None:
        by_track = {fragment.piece.track: fragment for fragment in reversed(firsts)}
        self._firsts = {track: by_track[track] for track in (VIDEO, AUDIO) if track in by_track}
        self._begin = min(each.piece.samples[0].dts * 1_000 // each.format.timescale for each in self._firsts.values())
        self._end = self._begin
        self._count = 0

    @property
    def cfg(self) -> str:
        return next(iter(self._firsts.values())).cfg

    @property
    def tracks(self) -> frozenset[Track]:
        return frozenset(self._firsts)

    @property
    def begin(self) -> float:
        """When it begins, in seconds since 1970."""
        return self._begin / 1_000

    @property
    def seconds(self) -> float:
        """How long it is, with all fragments so far."""
        return (self._end - self._begin) / 1_000

    def header(self) -> bytes:
        """Return what stands before the first fragment."""
        tracks, defaults = [], []
        for number, first in enumerate(self._firsts.values(), 1):
            moov = only_child(memoryview(bytearray(first.init)), b"moov")
            track, default = only_child(moov, b"trak"), only_child(moov, b"mvex", b"trex")
            _NUMBER.pack_into(only_child(track, b"tkhd"), _TRACK_IN_TKHD, number)
            _NUMBER.pack_into(default, _BEHIND_FLAGS, number)
            tracks.append(written_box(b"trak", track))
            defaults.append(written_box(b"trex", default))
        return self._file_type() + written_box(b"moov", self._movie_header(), *tracks, written_box(b"mvex", *defaults))

    def duration(self) -> tuple[int, bytes]:
        """Return where the header has the movie's duration, and the duration so far: players show it."""
        duration = min(self._end - self._begin, _LONGEST)
        return len(self._file_type()) + 2 * _SMALL_HEADER + _DURATION_IN_MVHD, _NUMBER.pack(duration)

    def fragment(self, fragment: LiveFragment) -> tuple[bytes, memoryview]:
        """Return a fragment as it is written: its ``moof``, and the rest."""
        self._count += 1
        data = memoryview(fragment.data)
        _, _, size = box_header(data[:BOX_HEADER], len(data))
        changed = bytearray(data[:size])
        moof = only_child(memoryview(changed), b"moof")
        tfhd, tfdt = only_child(moof, b"traf", b"tfhd"), only_child(moof, b"traf", b"tfdt")
        ticks = fragment.format.timescale
        (time,) = _TIME.unpack_from(tfdt, _BEHIND_FLAGS)
        _NUMBER.pack_into(only_child(moof, b"mfhd"), _BEHIND_FLAGS, self._count)
        _NUMBER.pack_into(tfhd, _BEHIND_FLAGS, list(self._firsts).index(fragment.piece.track) + 1)
        _TIME.pack_into(tfdt, _BEHIND_FLAGS, time - self._begin * ticks // 1_000)
        last = fragment.piece.samples[-1]
        self._end = max(self._end, (last.dts + last.duration) * 1_000 // ticks)
        return bytes(changed), data[size:]

    def _file_type(self) -> bytes:
        first = next(iter(self._firsts.values()))
        return written_box(b"ftyp", only_child(memoryview(first.init), b"ftyp"))

    def _movie_header(self) -> bytes:
        first = next(iter(self._firsts.values()))
        header = bytearray(only_child(memoryview(first.init), b"moov", b"mvhd"))
        _NUMBER.pack_into(header, _NEXT_TRACK_IN_MVHD, len(self._firsts) + 1)
        return written_box(b"mvhd", bytes(header))
