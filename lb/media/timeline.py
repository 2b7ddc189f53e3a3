"""The clock of a stream: Unix time, whatever the publisher's clock does, and numbers of segments that follow from it.

All that runs of one stream, and members of one ladder, have in common is in :class:`SharedTimeline`: the clock of the
source, the numbers, and where one run ends and another begins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

import attrs

from lb.media.frames import Track
from lb.media.open_segment import CUT_EARLY

__all__ = ["RunClock", "SegmentNumbers", "SharedTimeline", "SteadyClock"]

LATEST_BACK = 500
"""Milliseconds that a timestamp may lie before its track's last."""
LATEST_AHEAD = 1_500
"""Milliseconds that it may lie after it. Outside, the source's clock has jumped."""
SAME_CLOCK = 2_000
"""Milliseconds by which members of a ladder may connect one after another and still be taken for one source."""
USUAL_STEP = 33
"""Milliseconds between frames, as long as a track has only one."""
SAME_CUT = 250
"""Milliseconds between key frames of a ladder's members that begin segments of one number."""
REMEMBERED_CUTS = 64
MOST_WAITED = 4
"""Segments that a run waits until its number is one that nobody has used. Further ahead, numbers stay ahead of time."""
JUMPED = 16
"""Numbers that are left out then: the process before may have gone on a little after it was known how far it was."""
REMEMBERED_BREAKS = 4_096


@attrs.frozen
class SteadyClock:
    """Unix time that no step of the system's clock moves: the wall clock at the start plus monotonic time since."""

    wall: float
    monotonic: float

    def at(self, monotonic: float) -> float:
        """Return the time, in seconds since 1970, at a reading of the monotonic clock."""
        return self.wall + (monotonic - self.monotonic)


@attrs.define
class SegmentNumbers:
    """Gives each segment its number: one more than the last, or that of the other members' key frame beside it.

    The first of a run takes the number of its time, in segments since 1970. As segments are not shorter than the
    target, later runs, here or on another node, find higher numbers: none is used twice and none goes back.
    """

    segment: int
    """The target, in milliseconds."""
    after: int = -1
    """The first run's numbers are greater: those of a process before this one."""
    lead: int = attrs.field(default=0, init=False)
    """By how many numbers those in use are ahead of time, as segments were shorter before."""
    highest: int = attrs.field(default=-1, init=False)
    """The greatest number that is in use."""
    _cuts: deque[tuple[int, int]] = attrs.field(factory=lambda: deque(maxlen=REMEMBERED_CUTS), init=False)

    def first(self, start: int, last: int) -> int | None:
        """Return the number of a run's first segment, which starts at ``start``; ``last`` is the track's last number.

        Times are in milliseconds since 1970. None: a process before this one has used it; the run begins later.
        """
        beside = self._beside(start, last)
        if beside is not None:
            return self._taken(start, beside)
        number = max(last + 1, start // self.segment + self.lead)
        if number <= self.after - MOST_WAITED:
            jump = self.after + JUMPED - number
            self.lead += jump
            number += jump
        return None if number <= self.after else self._taken(start, number)

    def following(self, start: int, last: int, length: int) -> int | None:
        """Return the number of the segment after ``last``, which is ``length`` milliseconds long if it ends at
        ``start``. None: the number would be ahead of time, by segments that were a little short; it goes on.
        """
        beside = self._beside(start, last)
        if beside is not None:
            return self._taken(start, beside)
        ahead = (last - self.lead) * self.segment > start + CUT_EARLY
        if ahead and length < 2 * self.segment - CUT_EARLY:
            return None
        return self._taken(start, last + 1)

    def change(self, segment: int, now: int) -> None:
        """Go on with another target. ``now``: milliseconds since 1970."""
        if segment != self.segment:
            self.segment = segment
            self.lead = max(0, self.highest - now // segment)

    def _beside(self, start: int, last: int) -> int | None:
        for other, number in reversed(self._cuts):
            if abs(other - start) <= SAME_CUT and number > last:
                return number
        return None

    def _taken(self, start: int, number: int) -> int:
        self._cuts.append((start, number))
        self.highest = max(self.highest, number)
        return number


@attrs.define
class SharedTimeline:
    """What runs of a stream, and members of a ladder, share. Times are in milliseconds since 1970."""

    numbers: SegmentNumbers
    offset: int | None = None
    """What is added to timestamps of the source: that of the track that joined or jumped last."""
    running: int = 0
    """Publishers that are there."""
    _breaks: list[int] = attrs.field(factory=list, init=False)
    _breaks_gone: int = 0
    """Those that are too old to be listed, or of a process before this one."""

    def add_break(self) -> None:
        """Something ends here: the next number, and those after it, come after a discontinuity."""
        number = self.numbers.highest + 1
        if number == 0 or number in self._breaks[-1:]:
            return
        self._breaks.append(number)
        if len(self._breaks) > REMEMBERED_BREAKS:
            del self._breaks[0]
            self._breaks_gone += 1

    def breaks_before(self, number: int) -> int:
        """Return how many discontinuities come before this segment, from the first."""
        return self._breaks_gone + bisect_right(self._breaks, number)

    def breaks_behind(self, number: int) -> list[int]:
        """Return the numbers greater than this one before which there is a discontinuity."""
        return self._breaks[bisect_right(self._breaks, number) :]

    def all_breaks(self) -> int:
        return self._breaks_gone + len(self._breaks)


@attrs.define
class _TrackClock:
    offset: int
    last: int
    step: int = USUAL_STEP
    """Milliseconds from one timestamp to the next, as of late."""


@attrs.define
class RunClock:
    """Places the timestamps of one publisher on the timeline. All times are in milliseconds."""

    _shared: SharedTimeline
    _tracks: dict[Track, _TrackClock] = attrs.field(factory=dict, init=False)

    def place(self, track: Track, timestamp: int, now: int, earliest: int) -> tuple[int, int]:
        """Return the time of a timestamp in milliseconds since 1970, and by how much the source's clock jumped.

        The first of a run is placed at ``now``, but not before ``earliest``, where the last run ended; if other members
        of the ladder run, by their clock.
        """
        clock = self._tracks.get(track)
        if clock is None:
            clock = self._tracks[track] = self._joined(timestamp, now, earliest)
        moved = timestamp + clock.offset - clock.last
        jumped = 0
        if 0 < moved <= LATEST_AHEAD:
            clock.step = moved
        elif not _fits(moved) and not (moved > 0 and self._other_went_on(track, timestamp + clock.offset)):
            jumped = self._jump(clock, timestamp)
        at = timestamp + clock.offset
        clock.last = max(clock.last, at)
        return at, jumped

    def _joined(self, timestamp: int, now: int, earliest: int) -> _TrackClock:
        shared = self._shared
        for other in self._tracks.values():
            at = timestamp + other.offset
            return _TrackClock(other.offset if _fits(at - other.last) else other.last - timestamp, other.last)
        offset = shared.offset if shared.running > 1 else None
        if offset is None or abs(timestamp + offset - now) > SAME_CLOCK or timestamp + offset < earliest:
            offset = shared.offset = max(now, earliest) - timestamp
        return _TrackClock(offset, timestamp + offset)

    def _other_went_on(self, track: Track, at: int) -> bool:
        """Return whether the other track has come near: this one has rare frames, and its clock has not jumped."""
        return any(_fits(at - other.last) for each, other in self._tracks.items() if each != track)

    def _jump(self, clock: _TrackClock, timestamp: int) -> int:
        """Find the track's new offset: the one of whoever jumped before, if it fits. Return the jump if it is new."""
        shared = self._shared
        if shared.offset is not None and _fits(timestamp + shared.offset - clock.last):
            clock.offset = shared.offset
            return 0
        moved = timestamp + clock.offset - clock.last
        shared.offset = clock.offset = clock.last + clock.step - timestamp
        return moved


def _fits(moved: int) -> bool:
    return -LATEST_BACK <= moved <= LATEST_AHEAD
