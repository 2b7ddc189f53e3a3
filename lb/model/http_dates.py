"""Dates of HTTP (RFC 9110, section 5.6.7)."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

__all__ = ["http_date", "parse_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS: Mapping[bytes, int] = {name.encode(): number for number, name in enumerate(_MONTHS, 1)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_CENTURY = 100

_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = rb"(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME = rb"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMAT = re.compile(
    _DAY + rb", (?P<day>[0-9]{2}) " + _MONTH + rb" (?P<year>[0-9]{4}) " + _TIME + rb" GMT", re.IGNORECASE
)
_FULL_LENGTH = 29
"""Bytes of a date of this format, and of no other."""
_OLD_FORMATS = (
    re.compile(
        _LONG_DAY + rb", (?P<day>[0-9]{2})-" + _MONTH + rb"-(?P<year>[0-9]{2}) " + _TIME + rb" GMT", re.IGNORECASE
    ),
    re.compile(_DAY + rb" " + _MONTH + rb" (?P<day>[ 0-9][0-9]) " + _TIME + rb" (?P<year>[0-9]{4})", re.IGNORECASE),
)
"""Of RFC 850; of C's asctime."""


@functools.lru_cache(maxsize=1024)
def http_date(seconds: int) -> bytes:
    """Return the date of a time, in seconds since 1970, like ``Sun, 06 Nov 1994 08:49:37 GMT``.

    It is quick for a time that comes again. Times that are no dates of four digits become the first or last one.
    """
    at = _EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} GMT".encode()


def parse_date(value: bytes, now: float) -> int | None:
    """Return the seconds since 1970 of a date in one of the three formats, None if it is not a date.

    ``now`` completes years of two digits. Case does not matter (RFC 9111, section 4.2). It is quick for a date of
    today's format that comes again.
    """
    if len(value) == _FULL_LENGTH:
        return _full_date(value)
    for form in _OLD_FORMATS:
        match = form.fullmatch(value)
        if match is not None:
            return _seconds(match, now)
    return None


@functools.lru_cache(maxsize=1024)
def _full_date(value: bytes) -> int | None:
    match = _FORMAT.fullmatch(value)
    return None if match is None else _seconds(match, 0)


def _seconds(match: re.Match[bytes], now: float) -> int | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _full_year(year, now)
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"])
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        day = datetime(year, _MONTH_NUMBERS[match["month"].title()], int(match["day"]), tzinfo=UTC)
    except ValueError:  # such as 31 April
        return None
    return (day - _EPOCH).days * 86400 + hour * 3600 + minute * 60 + second


def _full_year(year: int, now: float) -> int:
    """Return the year that ends with these two digits and is at most 50 years in the future."""
    this = (_EPOCH + timedelta(seconds=now)).year
    year += this - this % _CENTURY + _CENTURY
    while year > this + _CENTURY // 2:
        year -= _CENTURY
    return year
