"""How long a response is fresh: RFC 9111, section 4.2, as a table, and the sums of ages and times."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.freshness import Freshness
from lb.cache.policy import storing
from lb.model import CacheSpec, RouteCache
from lb.model.http_dates import http_date
from tests.support.cached_requests import request

NOW = 1_764_000_000
RULES = RouteCache(CacheSpec("videos"))
GET = request()


def fields(*lines):
    """Return fields of lines like ``Expires: +60``: a number with a sign is the date so many seconds from now."""
    found = []
    for line in lines:
        name, value = line.split(": ", 1)
        is_date = name in ("Date", "Expires", "Last-Modified") and value[:1] in "+-"
        found.append((name.encode(), http_date(NOW + int(value)) if is_date else value.encode()))
    return found


def freshness(*lines, status=200, rules=RULES, delay=0.0):
    return storing(rules, GET, status, fields(*lines), NOW - delay, NOW)


def seconds_fresh(*lines, **more):
    """Return how long a response is fresh from now; None if it is not stored."""
    found = freshness(*lines, **more)
    return None if found is None else found.time_left(NOW)


VALID = attrs.evolve(RULES, valid=((200, 60.0), (404, 0.0), (None, 5.0)))


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Cache-Control: max-age=60"], 60),
        (["Cache-Control: max-age=60, s-maxage=5"], 5),
        (["Cache-Control: max-age=5, s-maxage=60"], 60),
        (["Cache-Control: max-age=60", "Expires: +5"], 60),
        (["Cache-Control: max-age=60", "Expires: 0"], 60),
        (["Cache-Control: public", "Expires: +60"], 60),
        (["Expires: +60"], 60),
        (["Expires: +60", "Date: foo"], 60),
        (["Expires: +60", "Date: +20"], 40),
        (["Expires: +60", "Date: -20"], 60),  # 80 of lifetime, 20 of age
        (["Expires: +60", "Expires: +5"], 5),
        (["Expires: +60", "Expires: x"], None),
        (["Expires: +60", "Age: 70"], None),
        (["Expires: 0"], None),
        (["Expires: -1"], None),
        (["Expires: +0"], None),
        (["Cache-Control: max-age=0", "Expires: +60"], None),
        (["Cache-Control: max-age=60", "Date: -10"], 50),
        (["Cache-Control: max-age=60", "Date: +10"], 60),
        (["Cache-Control: max-age=60", "Date: -10", "Date: -20"], 40),
        (["Cache-Control: max-age=60", "Age: 10"], 50),
        (["Cache-Control: max-age=60", "Age: 10, 50"], 50),
        (["Cache-Control: max-age=60", "Age: 10", "Age: 50"], 50),
        (["Cache-Control: max-age=60", "Age: x"], 60),
        (["Cache-Control: max-age=60", "Age: -10"], 60),
        (["Cache-Control: max-age=60", "Age: 10.5"], 60),
        (["Cache-Control: max-age=60", "Age: 10", "Date: -20"], 40),
        (["Cache-Control: max-age=3600", "Age: 99999999999"], None),
        ([], None),
        (["Cache-Control: public"], None),
        (['ETag: "x"'], None),
    ],
)  # fmt: skip
def test_what_the_server_says(lines, seconds):
    assert seconds_fresh(*lines) == seconds


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["CDN-Cache-Control: max-age=60", "Cache-Control: max-age=5"], 60),
        (["CDN-Cache-Control: max-age=5", "Cache-Control: max-age=60"], 5),
        (["CDN-Cache-Control: max-age=60", "Cache-Control: no-store"], 60),
        (["CDN-Cache-Control: no-store", "Cache-Control: max-age=60"], None),
        (["CDN-Cache-Control: private", "Cache-Control: max-age=60"], None),
        (["CDN-Cache-Control: public", "Expires: +60"], None),
        (["CDN-Cache-Control: max-age=60", "Expires: -60"], 60),
        (["CDN-Cache-Control: max-age=60, &", "Cache-Control: max-age=5"], 5),
        (["X-Accel-Expires: 60", "CDN-Cache-Control: max-age=5", "Cache-Control: private"], 60),
        (["X-Accel-Expires: 60", "Age: 50", "Date: -500"], 60),
        (["X-Accel-Expires: 0", "Cache-Control: max-age=60"], None),
        (["X-Accel-Expires: 0", "Cache-Control: max-age=60", 'ETag: "x"'], None),
        ([f"X-Accel-Expires: @{NOW + 60}"], 60),
        ([f"X-Accel-Expires: @{NOW - 60}"], None),
        (["X-Accel-Expires: off", "Cache-Control: max-age=5"], 5),
        (["X-Accel-Expires: 60", "X-Accel-Expires: 60", "Cache-Control: max-age=5"], 5),
    ],
)  # fmt: skip
def test_which_field_counts(lines, seconds):
    assert seconds_fresh(*lines) == seconds


@pytest.mark.parametrize(
    ("ignored", "lines", "seconds"),
    [
        ("cache-control", ["Cache-Control: no-store", "Expires: +60"], 60),
        ("expires", ["Expires: +60"], None),
        ("cdn-cache-control", ["CDN-Cache-Control: no-store", "Cache-Control: max-age=60"], 60),
        ("x-accel-expires", ["X-Accel-Expires: 0", "Cache-Control: max-age=60"], 60),
        ("set-cookie", ["Set-Cookie: a=b", "Cache-Control: max-age=60"], 60),
        ("vary", ["Vary: *", "Cache-Control: max-age=60"], 60),
    ],
)
def test_what_is_ignored_does_not_count(ignored, lines, seconds):
    rules = attrs.evolve(RULES, ignore=frozenset((ignored,)))
    assert seconds_fresh(*lines, rules=rules) == seconds
    assert seconds_fresh(*lines) != seconds


@pytest.mark.parametrize(
    ("status", "lines", "seconds"),
    [
        (200, [], 60),
        (302, [], 5),
        (404, [], None),  # 0
        (200, ["Cache-Control: public"], 60),
        (200, ["Cache-Control: max-age=5"], 5),
        (404, ["Cache-Control: max-age=5"], 5),
        (200, ["Expires: 0"], None),
        (200, ["Cache-Control: no-store"], None),
        (200, ["Cache-Control: no-cache"], None),
        (200, ["Date: -500"], 60),  # a clock that is wrong
        (200, ["Age: 50"], 10),  # of another cache
        (200, ["Last-Modified: -864000"], 60),
    ],
)
def test_what_the_route_says_of_responses_that_say_nothing(status, lines, seconds):
    assert seconds_fresh(*lines, status=status, rules=VALID) == pytest.approx(seconds)


HEURISTIC = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}


@pytest.mark.parametrize("status", [*range(200, 206), *range(300, 309), *range(400, 419), *range(500, 506), 299, 599])
def test_a_tenth_of_the_time_since_the_last_change_is_the_lifetime_of_some_statuses(status):
    lines = ["Last-Modified: -600", "Date: +0"]
    expected = 60 if status in HEURISTIC else None
    assert seconds_fresh(*lines, status=status) == expected
    with_public = seconds_fresh(*lines, "Cache-Control: public", status=status)
    assert with_public == (None if status in (206, 304, 412, 416) else 60)


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Last-Modified: -86400000"], 86400),
        (["Last-Modified: +10"], None),
        (["Last-Modified: -0"], None),
        (["Last-Modified: x"], None),
        (["Last-Modified: -600", "Date: -50"], 5),  # 55 of lifetime, 50 of age
        (["Last-Modified: -600", "Last-Modified: -300"], 60),
    ],
)
def test_a_guess_has_limits(lines, seconds):
    assert seconds_fresh(*lines) == seconds


@pytest.mark.parametrize("status", [100, 103, 199, 206, 304, 412, 416, 600, 999])
def test_some_statuses_are_never_stored(status):
    assert freshness("Cache-Control: max-age=60", 'ETag: "x"', status=status) is None  # fmt: skip


@pytest.mark.parametrize(
    "status", [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 503, 504, 599]
)
def test_others_are_stored_if_the_server_says_how_long(status):
    assert seconds_fresh("Cache-Control: max-age=60", status=status) == 60
    assert seconds_fresh("Expires: -60", status=status) is None


def test_the_time_that_the_request_took_is_age():
    assert seconds_fresh("Cache-Control: max-age=60", delay=7.5) == 52.5
    assert seconds_fresh("Cache-Control: max-age=60", "Age: 10", "Date: -2", delay=7.5) == 42.5
    assert seconds_fresh("Cache-Control: max-age=60", delay=-1000) == 60, "the clock was set back meanwhile"


@pytest.mark.parametrize(
    ("lines", "while_revalidate", "if_error"),
    [
        (["max-age=60"], None, None),
        (["max-age=60, stale-while-revalidate=5, stale-if-error=9"], 5, 9),
        (["max-age=0, stale-while-revalidate=5"], 5, 0),
        (["max-age=60, stale-if-error=x"], None, 0),
        (["s-maxage=60"], 0, 0),
        (["s-maxage=60, stale-while-revalidate=5"], 5, 0),
        (["max-age=60, must-revalidate, stale-if-error=9"], 0, 0),
        (["max-age=60, proxy-revalidate, stale-while-revalidate=9"], 0, 0),
    ],
)
def test_how_long_a_response_may_be_served_stale(lines, while_revalidate, if_error):
    found = freshness(*(f"Cache-Control: {line}" for line in lines))
    assert (found.stale_while_revalidate, found.stale_if_error) == (while_revalidate, if_error)


@pytest.mark.parametrize(
    ("control", "is_stored"),
    [
        ("no-cache", True),
        ("no-cache, max-age=60", True),
        ("max-age=0", True),
        ("max-age=0, must-revalidate", True),
    ],
)
def test_what_must_be_asked_for_each_time_is_stored_if_it_can_be_asked_for(control, is_stored):
    line = f"Cache-Control: {control}"
    assert (freshness(line, 'ETag: "x"') is not None) == is_stored
    assert (freshness(line, "Last-Modified: -5") is not None) == is_stored
    assert freshness(line) is None
    assert freshness(line, 'ETag: "x"', rules=attrs.evolve(RULES, revalidate=False)) is None


def test_what_comes_stale_is_of_use_while_it_may_be_served():
    assert freshness("Cache-Control: max-age=10, stale-if-error=20", "Age: 29") is not None
    assert freshness("Cache-Control: max-age=10, stale-if-error=20", "Age: 30") is None


times = st.floats(0, 1e9)


windows = st.none() | times


@given(st.builds(Freshness, times, times, times, windows, windows, st.booleans(), st.booleans()))
def test_what_is_packed_is_unpacked(made):
    assert Freshness.unpacked(made.packed()) == made
    assert len(made.packed()) == 41


@pytest.mark.parametrize("data", [b"", b"x" * 40, b"x" * 42, b"\xff" * 41, b"\0" * 40 + b"\4"])
def test_other_data_is_no_freshness(data):
    with pytest.raises(ValueError, match="the form of a Freshness"):
        Freshness.unpacked(data)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_it_only_grows_older(initial_age, lifetime, passed, more):
    found = Freshness(NOW, initial_age, lifetime)
    assert found.age(NOW + passed) >= initial_age
    assert found.is_fresh(NOW + passed) or not found.is_fresh(NOW + passed + more)
    assert found.is_fresh(NOW + passed) == (found.age(NOW + passed) < lifetime)


def test_a_clock_that_was_set_back_makes_nothing_fresh_for_years():
    found = Freshness(NOW, 0, 60)
    assert found.is_fresh(NOW - 1)
    assert not found.is_fresh(NOW - 3600)
    assert found.age(NOW - 3600) == 0


control = st.lists(
    st.sampled_from(["public", "no-cache", "must-revalidate", "proxy-revalidate", "immutable", "no-transform"])
    | st.tuples(
        st.sampled_from(["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"]), st.integers(0, 100)
    ).map(lambda pair: f"{pair[0]}={pair[1]}"),
    max_size=5,
)


@given(control, control, st.integers(0, 100), st.sampled_from(["no-store", "private", "must-revalidate", "no-cache"]))
def test_a_further_restriction_never_makes_a_response_usable_for_longer(one, other, age, restriction):
    lines = ['ETag: "x"', f"Age: {age}"]  # fmt: skip
    free = freshness(f"Cache-Control: {', '.join([*one, *other])}", *lines)
    bound = freshness(f"Cache-Control: {', '.join([*one, restriction, *other])}", *lines)
    if bound is not None and free is not None:
        assert bound.time_left(NOW) <= free.time_left(NOW)
        assert bound.no_cache >= free.no_cache
        assert bound.must_revalidate >= free.must_revalidate
    assert bound is None or free is not None or restriction == "no-cache"
