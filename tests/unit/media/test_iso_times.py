"""Times and durations in text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.media.iso_times import iso_duration, iso_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_764_000_000.25, "2025-11-24T16:00:00.250Z"),
        (1_764_000_000.9996, "2025-11-24T16:00:01.000Z"),
    ],
)
def test_a_time_has_milliseconds(seconds, text):
    assert iso_time(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "PT0S"), (2.0, "PT2S"), (0.25, "PT0.25S"), (100, "PT100S"), (1e10, "PT10000000000S")]
)
def test_a_duration_has_no_more_digits_than_it_needs(seconds, text):
    assert iso_duration(seconds) == text


@given(st.floats(0, 2e10))
def test_a_duration_is_kept_to_the_millisecond(seconds):
    assert float(iso_duration(seconds)[2:-1]) == pytest.approx(seconds, abs=0.0006)
