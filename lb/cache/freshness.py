"""How long a stored response is fresh, and how long it may be served when it no longer is (RFC 9111, section 4.2)."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence

import attrs

from lb.cache.cache_control import NO_DIRECTIVES, CacheControl, cache_control, delta_seconds, targeted_cache_control
from lb.cache.header_fields import by_name
from lb.model import RouteCache
from lb.model.http_dates import parse_date
from lb.model.request import HeaderFields

__all__ = ["Freshness", "ServerWord", "freshness_of"]

_FORM = struct.Struct("<dddddB")
_NOT_SAID = -1.0
_CLOCK_STEP = 60.0
"""Seconds that the clock may be behind the time of storing. A clock that was set back further says nothing of ages."""
_REVALIDATE = frozenset((b"must-revalidate", b"proxy-revalidate"))
_NO_MAX_STALE = _REVALIDATE | {b"s-maxage"}
_HEURISTIC_STATUSES = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
"""RFC 9110, section 15.1, without 206."""
_HEURISTIC_SHARE = 0.1
"""Of the time since the last change: RFC 9111, section 4.2.2."""
_HEURISTIC_LONGEST = 86400.0
_AGE = re.compile(rb"[ \t]*([0-9]+)[ \t]*(?:,|$)")


@attrs.frozen
class Freshness:
    """What is remembered of a stored response. All times are in seconds, those of events since 1970."""

    responded_at: float
    """When the head of the response came."""
    initial_age: float
    """Its age at that time."""
    lifetime: float
    """The age at which it is no longer fresh."""
    stale_while_revalidate: float | None = None
    """How long it may then be served while a new one is asked for; None = the response does not say."""
    stale_if_error: float | None = None
    """How long it may then be served in place of an error; None = the response does not say."""
    must_revalidate: bool = False
    """No client may accept it stale."""
    no_cache: bool = False
    """The server is asked before each use."""

    def age(self, now: float) -> float:
        """Return its age (section 4.2.3)."""
        return self.initial_age + max(0.0, now - self.responded_at)

    def time_left(self, now: float) -> float:
        """Return how long it stays fresh; below 0, how long ago it was."""
        return self.lifetime - self.age(now)

    def is_fresh(self, now: float) -> bool:
        """Return whether it is fresh. It is not if the clock was set back: its age is unknown then."""
        return self.time_left(now) > 0 and now > self.responded_at - _CLOCK_STEP

    def packed(self) -> bytes:
        """Return a form of 41 bytes for files."""
        return _FORM.pack(
            self.responded_at,
            self.initial_age,
            self.lifetime,
            _NOT_SAID if self.stale_while_revalidate is None else self.stale_while_revalidate,
            _NOT_SAID if self.stale_if_error is None else self.stale_if_error,
            self.must_revalidate | self.no_cache << 1,
        )

    @classmethod
    def unpacked(cls, data: bytes) -> Freshness:
        """Return what was packed. Raises ValueError for other data."""
        if len(data) != _FORM.size:
            raise ValueError(f"the form of a Freshness has {_FORM.size} bytes, not {len(data)}")
        *times, flags = _FORM.unpack(data)
        if not all(abs(time) < 1e15 for time in times) or flags > 3:  # also false for NaN
            raise ValueError("not the form of a Freshness")
        responded_at, initial_age, lifetime, *windows = times
        while_revalidate, if_error = (None if window < 0 else window for window in windows)
        return cls(responded_at, initial_age, lifetime, while_revalidate, if_error, bool(flags & 1), bool(flags & 2))


@attrs.define
class ServerWord:
    """What a server says of the caching of a response, without the fields that the route does not heed.

    Nobody changes it. It is not frozen, as that would make each response cost more.
    """

    fields: Mapping[bytes, list[bytes]]
    """The values by name, in lower case."""
    control: CacheControl
    """The directives that count: CDN-Cache-Control if there is a valid one, else Cache-Control."""
    is_targeted: bool
    """Whether they are not of Cache-Control. Then Expires does not count."""
    accelerated: float | None = None
    """The time of X-Accel-Expires, in seconds from the response; None if there is none. No directive counts then."""

    @classmethod
    def of(cls, rules: RouteCache, fields: HeaderFields, responded_at: float) -> ServerWord:
        values = by_name(fields)
        for ignored in rules.ignore:
            values.pop(ignored.encode(), None)
        accelerated = _accelerated(values.get(b"x-accel-expires", ()), responded_at)
        if accelerated is not None:
            return cls(values, NO_DIRECTIVES, is_targeted=True, accelerated=accelerated)
        targeted = targeted_cache_control(values.get(b"cdn-cache-control", ()))
        if targeted is not None:
            return cls(values, targeted, is_targeted=True)
        return cls(values, cache_control(values.get(b"cache-control", ())), is_targeted=False)

    @property
    def has_validator(self) -> bool:
        return b"etag" in self.fields or b"last-modified" in self.fields

    def date(self, name: bytes, now: float) -> int | None:
        """Return the earliest date of a field; None if there is none, or one that is no date."""
        values = self.fields.get(name, ())
        if len(values) == 1:
            return parse_date(values[0], now)
        dates = [parse_date(value, now) for value in values]
        return None if None in dates else min(dates, default=None)  # type: ignore[type-var]  # no None in it


def _accelerated(values: Sequence[bytes], responded_at: float) -> float | None:
    """Return the seconds from now that nginx reads in X-Accel-Expires: ``60``, or ``@`` and a time since 1970."""
    if len(values) != 1:
        return None
    if not values[0].startswith(b"@"):
        return delta_seconds(values[0])
    until = delta_seconds(values[0][1:])
    return None if until is None else max(0.0, until - responded_at)


@attrs.define
class _Times:
    """The times of a response: section 4.2.3. Nobody changes them, either."""

    responded_at: float
    date: float
    """When the server made it, by its own clock."""
    told_age: float
    """By the caches on its way."""
    delay: float
    """The time that it took."""

    @classmethod
    def of(cls, word: ServerWord, requested_at: float, responded_at: float) -> _Times:
        date = word.date(b"date", responded_at)
        delay = max(0.0, responded_at - requested_at)
        return cls(responded_at, responded_at if date is None else date, _age(word.fields.get(b"age")), delay)

    @property
    def initial_age(self) -> float:
        return max(self.told_age + self.delay, self.responded_at - self.date)


def _age(values: Sequence[bytes] | None) -> int:
    """Return the first Age; 0 if it is none."""
    match = _AGE.match(values[0]) if values else None
    return (delta_seconds(match[1]) or 0) if match is not None else 0


def freshness_of(
    rules: RouteCache, status: int, word: ServerWord, requested_at: float, responded_at: float
) -> Freshness | None:
    """Return the freshness of a response that may be stored; None if it is of no use once stored.

    It is of use while it is fresh, while the server lets it be served stale, or if the server can be asked whether it
    is still the same.
    """
    times = _Times.of(word, requested_at, responded_at)
    no_cache = word.control.is_whole(b"no-cache")
    lifetime = _lifetime(rules, status, word, times)
    if lifetime is None:
        if not (no_cache and _may_be_guessed(status, word)):
            return None
        lifetime = 0.0
    left = lifetime - times.initial_age
    while_revalidate, if_error = _windows(word.control, is_stale=left <= 0, no_cache=no_cache)
    is_usable = not no_cache and left + max(0, while_revalidate or 0, if_error or 0) > 0
    if not (is_usable or (word.has_validator and rules.revalidate)):
        return None
    must_revalidate = word.control.has_any(_NO_MAX_STALE)
    return Freshness(responded_at, times.initial_age, lifetime, while_revalidate, if_error, must_revalidate, no_cache)


def _lifetime(rules: RouteCache, status: int, word: ServerWord, times: _Times) -> float | None:
    """Return how long a response is fresh from its making. None: not stored, as nobody says so, or says 0."""
    if word.accelerated is not None:  # counts from now
        return times.initial_age + word.accelerated if word.accelerated else None
    explicit = _explicit_lifetime(word, times)
    if explicit is not None:
        return explicit
    if not rules.valid:
        return _heuristic_lifetime(status, word, times)
    valid = dict(rules.valid)
    seconds = valid.get(status, valid.get(None, 0.0))
    return seconds + times.initial_age - times.told_age if seconds else None  # whatever the server's clock says


def _explicit_lifetime(word: ServerWord, times: _Times) -> float | None:
    """Return the lifetime of section 4.2.1. What is invalid is 0, as Expires: 0 is."""
    for name in (b"s-maxage", b"max-age"):
        seconds = word.control.seconds(name)
        if seconds is not None:
            return seconds
    if word.is_targeted or b"expires" not in word.fields:
        return None
    expires = word.date(b"expires", times.responded_at)
    return 0.0 if expires is None else max(0.0, expires - times.date)


def _heuristic_lifetime(status: int, word: ServerWord, times: _Times) -> float | None:
    """Return a tenth of the time since the last change: section 4.2.2."""
    modified = word.date(b"last-modified", times.responded_at)
    if modified is None or not _may_be_guessed(status, word):
        return None
    return min(max(0.0, times.date - modified) * _HEURISTIC_SHARE, _HEURISTIC_LONGEST) or None


def _may_be_guessed(status: int, word: ServerWord) -> bool:
    """Return whether a response may be stored though it does not say how long it is fresh."""
    return status in _HEURISTIC_STATUSES or b"public" in word.control


def _windows(control: CacheControl, *, is_stale: bool, no_cache: bool) -> tuple[float | None, float | None]:
    """Return how long a response may be served stale while a new one is asked for, and in place of an error.

    None is what the response does not say. It says 0 by s-maxage (section 5.2.2.10), and if it comes stale: it should
    never be used unasked.
    """
    if no_cache or control.has_any(_REVALIDATE):
        return 0.0, 0.0
    default = 0.0 if is_stale or b"s-maxage" in control else None
    while_revalidate, if_error = control.seconds(b"stale-while-revalidate"), control.seconds(b"stale-if-error")
    return (
        default if while_revalidate is None else while_revalidate,
        default if if_error is None else if_error,
    )
