"""Where titles are cut into segments: at key frames that all renditions have, nearest to multiples of a length."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import attrs

from lb.media.frames import MediaError

__all__ = ["KeyFrames", "common_cuts", "even_cuts"]


@attrs.frozen
class KeyFrames:
    """When the key frames of a rendition are shown, in ticks of one clock for all renditions."""

    times: Sequence[int]
    """Ascending; at least one."""
    frame: int
    """How long one frame is shown."""
    end: int
    """When the last frame is over."""


def common_cuts(renditions: Sequence[KeyFrames], segment: int, second: int) -> tuple[tuple[int, ...], ...]:
    """Return for each rendition the numbers of the key frames that its segments begin with. They have equally many.

    ``segment`` is the length of a segment, ``second`` that of a second. Key frames of two renditions are the same if
    they are within half a frame. A single rendition is cut where it can be. Raises :class:`MediaError` if several have
    no key frame in common for two segments.
    """
    base = renditions[0]
    common = _common(renditions)
    if not common or any(common[0]):
        raise MediaError("its renditions do not begin with the same frame")
    times = [base.times[numbers[0]] for numbers in common]
    end = max(each.end for each in renditions)
    chosen = _nearest(times, segment, end)
    if len(renditions) > 1:
        _check_lengths([*(times[at] for at in chosen), end], 2 * segment + base.frame // 2, second)
    return tuple(zip(*(common[at] for at in chosen), strict=True))


def _common(renditions: Sequence[KeyFrames]) -> list[tuple[int, ...]]:
    """Return the numbers of the same key frame in each rendition, for all key frames that each has."""
    base = renditions[0]
    found = []
    for number, time in enumerate(base.times):
        numbers = [number]
        for other in renditions[1:]:
            at = _nearest_number(other.times, time)
            if 2 * abs(other.times[at] - time) > min(base.frame, other.frame):
                break
            numbers.append(at)
        else:
            found.append(tuple(numbers))
    return found


def _nearest_number(times: Sequence[int], time: int) -> int:
    at = bisect_left(times, time)
    if at == len(times) or (at and time - times[at - 1] <= times[at] - time):
        return at - 1
    return at


def _nearest(times: Sequence[int], segment: int, end: int) -> list[int]:
    """Return the numbers of the first time, and of those to which a multiple of ``segment`` from there is nearest.

    The last segment is to be half a segment long at least, so the last multiple is so long before the end.
    """
    begin, last = times[0], (end - times[0] - segment // 2) // segment
    chosen = [0]
    for number in range(1, len(times)):
        after = times[number - 1] + times[number] - 2 * begin
        multiple = after // (2 * segment) + 1
        upto = times[number] + times[number + 1] - 2 * begin if number + 1 < len(times) else 2 * segment * last
        if max(1, multiple) <= min(last, upto // (2 * segment)):
            chosen.append(number)
    return chosen


def _check_lengths(bounds: Sequence[int], most: int, second: int) -> None:
    for begin, end in pairwise(bounds):
        if end - begin > most:
            at, length = (begin - bounds[0]) / second, (end - begin) / second
            raise MediaError(
                f"its renditions have no key frame in common for {length:.1f} s, {at:.1f} s from the begin"
            )


def even_cuts(begin: int, end: int, segment: int) -> list[int]:
    """Return the times at which audio is cut: ``begin`` and whole segments, up to half a segment before the end."""
    return list(range(begin + segment, end - segment // 2 + 1, segment))
