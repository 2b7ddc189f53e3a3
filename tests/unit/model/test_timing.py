"""Histograms: accurate enough for a median."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model.timing import Histogram, Timing, add_up

durations = st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=50)


def spread(*seconds):
    counted = Histogram()
    for each in seconds:
        counted.add(each)
    return counted


@given(durations)
def test_the_median_is_right_within_1_percent(seconds):
    assert spread(*seconds).median == pytest.approx(statistics.median_low(seconds), rel=0.011)


@given(durations, durations)
def test_what_several_have_counted_adds_up_to_what_one_would_have(one, other):
    total = spread(*one)
    total.add_all(spread(*other))
    assert total == spread(*one, *other)
    assert total.total == len(one) + len(other)


def test_no_time_at_all_counts_too():
    assert spread(0.0, 0.0, 0.0).median == pytest.approx(1e-6, rel=0.05)


def test_nothing_has_no_median():
    with pytest.raises(ValueError, match="the histogram is empty"):
        _ = Histogram().median


def test_what_is_taken_is_not_told_again_and_what_is_under_way_counts_next_time():
    timing = Timing(first_byte=Histogram())
    under_way = timing.first_byte
    timing.connect.add(0.1)
    assert timing.take() == {"connect": spread(0.1), "first byte": Histogram()}
    under_way.add(2.0)
    assert timing.take() == {"connect": Histogram(), "first byte": spread(2.0)}


def test_without_first_bytes_there_are_connects_only():
    assert Timing().take().keys() == {"connect"}


def test_timings_of_several_processes_add_up_by_server_and_measure():
    total = {}
    add_up(total, {"a": {"connect": spread(0.1)}})
    add_up(total, {"a": {"connect": spread(0.2), "first byte": spread(0.3)}, "b": {"connect": spread(0.4)}})
    assert total == {
        "a": {"connect": spread(0.1, 0.2), "first byte": spread(0.3)},
        "b": {"connect": spread(0.4)},
    }
