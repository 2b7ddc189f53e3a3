"""Dates of HTTP: written in one format, read in three."""

from calendar import timegm
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model.http_dates import http_date, parse_date

EXAMPLE = 784111777
"""Sun, 06 Nov 1994 08:49:37 GMT: the example of RFC 9110."""
NOW = 1_764_000_000  # November 2025
YEAR = 31_556_952
LONG_DAYS = {"Mon": "Monday", "Tue": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Fri": "Friday"}
LONG_DAYS |= {"Sat": "Saturday", "Sun": "Sunday"}


@pytest.mark.parametrize(
    "text", [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"]
)
def test_the_three_formats_of_the_standard_are_read_in_any_case(text):
    assert parse_date(text, NOW) == parse_date(text.lower(), NOW) == parse_date(text.upper(), NOW) == EXAMPLE


@given(st.integers(-62_135_596_800, 253_402_300_799))
def test_what_is_written_is_read(seconds):
    assert parse_date(http_date(seconds), NOW) == seconds


@given(st.integers(0, 200 * YEAR))
def test_dates_are_written_as_mail_does(seconds):
    assert http_date(seconds) == formatdate(seconds, usegmt=True).encode()


@pytest.mark.parametrize("seconds", [-(10**15), 10**15])
def test_times_beyond_four_digits_of_a_year_are_dates_too(seconds):
    assert parse_date(http_date(seconds), NOW) is not None


@given(st.integers(NOW - 49 * YEAR, NOW + 49 * YEAR))
def test_a_year_of_two_digits_is_near(seconds):
    day, date, month, year, time, _ = http_date(seconds).decode().split()
    text = f"{LONG_DAYS[day.rstrip(',')]}, {date}-{month}-{year[2:]} {time} GMT"
    assert parse_date(text.encode(), NOW) == seconds


def test_a_year_of_two_digits_is_not_more_than_50_years_ahead():
    assert parse_date(b"Friday, 01-Jan-75 00:00:00 GMT", NOW) == timegm((2075, 1, 1, 0, 0, 0))
    assert parse_date(b"Friday, 01-Jan-76 00:00:00 GMT", NOW) == timegm((1976, 1, 1, 0, 0, 0))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"784111777",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 31 Apr 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 23:60:00 GMT",
        b"Sun, 06 Nov 1994 23:00:61 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT ",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun Nov   6 08:49:37 1994",
        "Sun, 0٦ Nov 1994 08:49:37 GMT".encode(),
    ],
)
def test_what_is_no_date_is_none(text):
    assert parse_date(text, NOW) is None


@given(st.binary(max_size=40))
def test_any_bytes_are_a_date_or_none(text):
    assert parse_date(text, NOW) is None
