"""Which keys are asked for most often."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from lb.model import top_keys
from lb.model.top_keys import LONGEST_KEY, MOST_COUNTED, TopKeys


@given(st.lists(st.integers(0, 30), max_size=400))
def test_a_count_is_never_too_high_and_too_low_by_a_bounded_part_at_most(keys):
    found = TopKeys()
    before, top_keys.MOST_COUNTED = top_keys.MOST_COUNTED, 8
    try:
        for key in keys:
            found.note(b"%d" % key)
    finally:
        top_keys.MOST_COUNTED = before
    counted = found.largest(100)
    assert len(counted) <= 8
    for key, count in Counter(b"%d" % key for key in keys).items():
        assert count - len(keys) * 2 / 8 <= counted.get(key, 0) <= count


def test_the_first_is_asked_for_most():
    found = TopKeys()
    for number in range(10):
        for _ in range(number):
            found.note(b"%d" % number)
    assert found.largest(2) == {b"9": 9, b"8": 8}


def test_long_keys_take_no_more_memory():
    found = TopKeys()
    found.note(b"a" * 10_000)
    assert found.largest(1) == {b"a" * LONGEST_KEY: 1}


def test_the_counts_of_two_processes_add_up_and_stay_bounded():
    ours, theirs = TopKeys(), TopKeys()
    for number in range(MOST_COUNTED):
        ours.note(b"ours %d" % number)
        theirs.note(b"theirs %d" % number)
    for _ in range(9):
        ours.note(b"both")
        theirs.note(b"both")
    ours.add(theirs)
    assert ours.largest(1).keys() == {b"both"}
    assert len(ours._counts) <= MOST_COUNTED
