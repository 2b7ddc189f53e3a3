"""Cuts that all renditions have, nearest to multiples of a segment's length."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.frames import MediaError
from lb.media.vod_cuts import KeyFrames, common_cuts, even_cuts

SECOND = 90_000
FRAME = 3_600
"""Of 25 a second."""


def key_frames(*seconds, end=60.0, frame=FRAME):
    return KeyFrames([round(each * SECOND) for each in seconds], frame, round(end * SECOND))


def cuts(*renditions, segment=6.0):
    return common_cuts(renditions, round(segment * SECOND), SECOND)


def every(seconds, end=60.0, **others):
    return key_frames(*itertools.takewhile(lambda at: at < end, itertools.count(0, seconds)), end=end, **others)


def test_segments_are_as_long_as_they_are_meant_to_be_where_key_frames_allow_it():
    assert cuts(every(2)) == ((0, 3, 6, 9, 12, 15, 18, 21, 24, 27),)


def test_the_key_frame_nearest_to_a_multiple_is_taken_not_the_next():
    found = cuts(every(5, end=60))[0]
    assert [number * 5 for number in found] == [0, 5, 10, 20, 25, 30, 35, 40, 50, 55]


def test_errors_do_not_add_up():
    found = cuts(every(2.5, end=600))[0]
    assert max(abs(number * 2.5 - 6 * at) for at, number in enumerate(found)) <= 1.25


def test_key_frames_farther_apart_than_a_segment_are_all_cuts():
    assert cuts(every(10)) == ((0, 1, 2, 3, 4, 5),)


def test_the_last_segment_is_half_a_segment_long_at_least():
    assert cuts(every(2, end=20.5))[0] == (0, 3, 6)
    assert cuts(every(2, end=21.0))[0] == (0, 3, 6, 9)


def test_a_film_may_begin_late():
    assert cuts(key_frames(0.08, 2.08, 4.08, 6.08, 8.08, end=12.08))[0] == (0, 3)


def test_a_single_key_frame_makes_a_single_segment():
    assert cuts(key_frames(0)) == ((0,),)


def test_key_frames_that_one_rendition_has_alone_are_no_cuts():
    assert cuts(every(1), every(3, frame=2 * FRAME), segment=4.0) == (
        (0, 3, 9, 12, 15, 21, 24, 27, 33, 36, 39, 45, 48, 51, 57),
        (0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19),
    )


def test_key_frames_half_a_frame_apart_are_the_same():
    assert cuts(every(6), key_frames(*(6 * at + 0.02 for at in range(10)))) == (tuple(range(10)),) * 2


def test_key_frames_a_frame_apart_are_not():
    with pytest.raises(MediaError, match=r"no key frame in common for 60\.0 s, 0\.0 s from the begin"):
        cuts(every(6), key_frames(0, *(6 * at + 0.04 for at in range(1, 10))))


def test_renditions_that_begin_with_different_frames_are_refused():
    with pytest.raises(MediaError, match="begin with the same frame"):
        cuts(every(2), key_frames(2, 4, 6, 8))


def test_a_rendition_that_ends_long_before_the_others_is_refused():
    with pytest.raises(MediaError, match=r"no key frame in common for 42\.0 s, 18\.0 s"):
        cuts(every(2), every(2, end=20))


def test_two_segments_without_a_common_key_frame_are_allowed():
    assert cuts(every(12), every(4)) == ((0, 1, 2, 3, 4), (0, 3, 6, 9, 12))


times = st.lists(st.integers(1, 400), min_size=1, max_size=80).map(
    lambda gaps: [0, *itertools.accumulate(gap * FRAME for gap in gaps)]
)


@given(times, st.integers(1, 10), st.integers(1, 500))
def test_a_single_rendition_is_cut_once_at_most_for_each_multiple(found, segment, tail):
    end = found[-1] + tail * FRAME
    length = segment * SECOND
    (chosen,) = common_cuts([KeyFrames(found, FRAME, end)], length, SECOND)
    assert chosen[0] == 0
    assert list(chosen) == sorted(set(chosen))
    nearest = {
        min(range(len(found)), key=lambda at: (abs(found[at] - target), at)) for target in range(length, end, length)
        if target <= end - length // 2
    }  # fmt: skip
    assert set(chosen) == nearest | {0}


@given(times, st.lists(st.sets(st.integers(0, 80)), min_size=1, max_size=3), st.integers(1, 5))
def test_cuts_are_the_same_moments_in_all_renditions(found, missing, segment):
    renditions = [KeyFrames(found, FRAME, found[-1] + FRAME)]
    for numbers in missing:
        kept = [time for number, time in enumerate(found) if number == 0 or number not in numbers]
        renditions.append(KeyFrames(kept, FRAME, found[-1] + FRAME))
    try:
        chosen = common_cuts(renditions, segment * SECOND, SECOND)
    except MediaError:
        common = set.intersection(*(set(each.times) for each in renditions))
        bounds = [*sorted(common), found[-1] + FRAME]
        assert max(end - begin for begin, end in itertools.pairwise(bounds)) >= segment * SECOND
        return
    moments = {
        tuple(each.times[number] for number in numbers) for each, numbers in zip(renditions, chosen, strict=True)
    }
    assert len(moments) == 1
    bounds = [*moments.pop(), found[-1] + FRAME]
    assert max(end - begin for begin, end in itertools.pairwise(bounds)) <= 2 * segment * SECOND + FRAME


def test_sound_alone_is_cut_by_time():
    assert even_cuts(0, 60, 20) == [20, 40]
    assert even_cuts(0, 70, 20) == [20, 40, 60]
    assert even_cuts(5, 14, 20) == []
