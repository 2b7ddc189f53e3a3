"""What a shared cache stores, and when it serves it: RFC 9111, sections 3, 4 and 5.2.1, and RFC 5861."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.freshness import Freshness
from lb.cache.policy import (
    Reuse,
    StoredHead,
    may_look_up,
    only_if_cached,
    reuse,
    revalidated,
    serves_stale,
    storing,
    wanted,
)
from lb.model import CacheSpec, RouteCache
from tests.support.cached_requests import request

NOW = 1_764_000_000
NO_STALE = RouteCache(CacheSpec("videos"), use_stale=frozenset())
STALE = RouteCache(CacheSpec("videos"))
OBEYING = attrs.evolve(NO_STALE, obey_client=True)
AUTHORIZED = request("Authorization: Basic x")


def is_stored(*lines, asked=None, status=200, rules=NO_STALE):
    fields = [tuple(line.encode().split(b": ", 1)) for line in ("Date: x", *lines)]
    return storing(rules, asked or request(), status, fields, NOW, NOW) is not None


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ("max-age=60", True),
        ("max-age=60, no-store", False),
        ("max-age=60, No-Store", False),
        ("max-age=60, no-store=x", False),
        ("max-age=60, private", False),
        ('max-age=60, private="X-Id"', True),
        ('max-age=60, private=""', False),
        ('max-age=60, x="no-store, private"', True),
        ('max-age=60, x="y, no-store', False),
        ("max-age=60, no-store, must-understand", True),
    ],
)
def test_directives_that_forbid_storing(control, expected):
    assert is_stored(f"Cache-Control: {control}") == expected


def test_must_understand_allows_known_statuses_only():
    line = "Cache-Control: max-age=60, no-store, must-understand"
    assert is_stored(line, status=404)
    assert not is_stored(line, status=599)
    assert not is_stored("Cache-Control: max-age=60, must-understand", status=599)


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        ("max-age=60", False),
        ("max-age=60, public", True),
        ("max-age=60, must-revalidate", True),
        ("s-maxage=60", True),
        ("max-age=60, proxy-revalidate", False),
        ("max-age=60, immutable", False),
        ("max-age=60, public, private", False),
    ],
)
def test_what_one_client_got_by_its_password_is_for_others_only_if_the_server_says_so(control, expected):
    assert is_stored(f"Cache-Control: {control}", asked=AUTHORIZED) == expected
    assert is_stored(f"CDN-Cache-Control: {control}", asked=AUTHORIZED) == expected
    assert not is_stored("X-Accel-Expires: 60", f"Cache-Control: {control}", asked=AUTHORIZED)


@pytest.mark.parametrize(
    "line", ["Set-Cookie: a=b", "set-cookie: a=b", "Vary: *", "Vary: A, *", "Vary: , *"]
)  # fmt: skip
def test_a_response_for_one_client_is_not_stored(line):
    assert not is_stored("Cache-Control: max-age=60, public", line)
    assert not is_stored("X-Accel-Expires: 60", line)


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE", "QUERY"])
def test_responses_to_other_methods_than_get_are_not_stored(method):
    assert not is_stored("Cache-Control: max-age=60", asked=request(method=method))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(), True),
        (request(method="HEAD"), True),
        (request("Content-Length: 0"), True),
        (request("Range: bytes=0-1"), True),
        (request("Content-Length: 1"), False),
        (request("Transfer-Encoding: chunked"), False),
        (request(method="POST"), False),
    ],
)
def test_a_body_is_not_in_the_key_so_nobody_else_gets_the_response_to_it(asked, expected):
    assert may_look_up(asked) == expected
    if not expected:
        assert not is_stored("Cache-Control: max-age=60", asked=asked)


@pytest.mark.parametrize(
    ("condition", "lines", "uri", "expected"),
    [
        ("cookie:session", ["Cookie: session=1"], "/", True),
        ("cookie:session", ["Cookie: session=0"], "/", False),
        ("cookie:session", ["Cookie: session="], "/", False),
        ("cookie:session", ["Cookie: other=1"], "/", False),
        ("header:X-Fresh", ["x-fresh: yes"], "/", True),
        ("header:X-Fresh", ["X-Fresh: 0"], "/", False),
        ("header:X-Fresh", [], "/", False),
        ("query:a b", [], "/?a%20b=1", True),
        ("query:a b", [], "/?a+b=0", False),
    ],
)
def test_a_condition_holds_if_its_value_is_there_and_not_0(condition, lines, uri, expected):
    asked = request(*lines, uri=uri)
    assert wanted((condition,), asked) == expected
    assert wanted(("cookie:none", condition), asked) == expected
    assert not wanted((), asked)
    rules = attrs.evolve(NO_STALE, no_store=(condition,))
    assert is_stored("Cache-Control: max-age=60", asked=asked, rules=rules) != expected


def stored(left=60.0, age=0.0, **more):
    """Return a response that stays fresh for so many seconds from now, with this age."""
    return Freshness(NOW - age, 0.0, left + age, **more)


@pytest.mark.parametrize(
    ("line", "freshness", "expected"),
    [
        ("no-cache", stored(), Reuse.REVALIDATE),
        ("no-store", stored(), Reuse.FRESH),
        ("max-age=0", stored(age=1), Reuse.REVALIDATE),
        ("max-age=10", stored(age=10), Reuse.FRESH),
        ("max-age=10", stored(age=11), Reuse.REVALIDATE),
        ("max-age=x", stored(age=11), Reuse.REVALIDATE),
        ("max-age=10, max-stale", stored(age=11), Reuse.REVALIDATE),
        ("min-fresh=60", stored(60), Reuse.FRESH),
        ("min-fresh=61", stored(60), Reuse.REVALIDATE),
        ("max-stale=10", stored(-10), Reuse.FRESH),
        ("max-stale=10", stored(-11), Reuse.REVALIDATE),
        ("max-stale", stored(-1000), Reuse.FRESH),
        ("max-stale=x", stored(-1), Reuse.REVALIDATE),
        ("max-stale", stored(-1, must_revalidate=True), Reuse.REVALIDATE),
        ("max-stale", stored(-1, no_cache=True), Reuse.REVALIDATE),
        ("other", stored(), Reuse.FRESH),
        ("other", stored(-1), Reuse.REVALIDATE),
    ],
)
def test_what_a_client_asks_for_counts_if_the_route_says_so(line, freshness, expected):
    asked = request(f"Cache-Control: {line}")
    assert reuse(OBEYING, freshness, asked, NOW) is expected
    alone = reuse(NO_STALE, freshness, request(), NOW)
    assert reuse(NO_STALE, freshness, asked, NOW) is alone


def test_pragma_counts_where_there_is_no_cache_control():
    assert reuse(OBEYING, stored(), request("Pragma: no-cache"), NOW) is Reuse.REVALIDATE
    assert reuse(OBEYING, stored(), request("Pragma: x"), NOW) is Reuse.FRESH
    assert reuse(OBEYING, stored(), request("Pragma: no-cache", "Cache-Control: x"), NOW) is Reuse.FRESH
    assert reuse(NO_STALE, stored(), request("Pragma: no-cache"), NOW) is Reuse.FRESH


def test_a_client_may_ask_for_what_is_stored_only_or_for_nothing_to_be_stored():
    asked = request("Cache-Control: only-if-cached, no-store")
    assert only_if_cached(OBEYING, asked)
    assert not only_if_cached(OBEYING, request())
    assert not only_if_cached(NO_STALE, asked)
    assert not is_stored("Cache-Control: max-age=60", asked=asked, rules=OBEYING)
    assert is_stored("Cache-Control: max-age=60", asked=asked)


@pytest.mark.parametrize(
    ("freshness", "rules", "expected"),
    [
        (stored(1), NO_STALE, Reuse.FRESH),
        (stored(0), NO_STALE, Reuse.REVALIDATE),
        (stored(1, no_cache=True), STALE, Reuse.REVALIDATE),
        (stored(-1), STALE, Reuse.STALE_WHILE_UPDATE),
        (stored(-1e6), STALE, Reuse.STALE_WHILE_UPDATE),
        (stored(-1), attrs.evolve(STALE, background_update=False), Reuse.REVALIDATE),
        (stored(-1, stale_while_revalidate=0.0), STALE, Reuse.REVALIDATE),
        (stored(-5, stale_while_revalidate=5.0), NO_STALE, Reuse.STALE_WHILE_UPDATE),
        (stored(-6, stale_while_revalidate=5.0), NO_STALE, Reuse.REVALIDATE),
        (stored(-6, stale_while_revalidate=5.0), STALE, Reuse.REVALIDATE),
    ],
)
def test_what_is_served_at_once(freshness, rules, expected):
    assert reuse(rules, freshness, request(), NOW) is expected


FAILURES = ["error", "timeout", "http_500", "http_502", "http_503", "http_504"]


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_is_replaced_by_what_is_stale_if_the_server_or_the_route_says_so(failure):
    only = attrs.evolve(NO_STALE, use_stale=frozenset((failure,)))
    assert serves_stale(only, stored(-1e6), failure, NOW)
    assert not serves_stale(NO_STALE, stored(-1), failure, NOW)
    assert serves_stale(NO_STALE, stored(-5, stale_if_error=5.0), failure, NOW)
    assert not serves_stale(only, stored(-6, stale_if_error=5.0), failure, NOW)
    assert not serves_stale(only, stored(-1, stale_if_error=0.0), failure, NOW)
    assert not serves_stale(only, stored(-1, no_cache=True), failure, NOW)


def test_stale_if_error_says_nothing_of_answers_that_are_no_errors():
    for failure in ("http_403", "http_404", "http_429"):
        only = attrs.evolve(NO_STALE, use_stale=frozenset((failure,)))
        assert serves_stale(only, stored(-6, stale_if_error=5.0), failure, NOW)
        assert not serves_stale(NO_STALE, stored(-1, stale_if_error=5.0), failure, NOW)
        assert not serves_stale(only, stored(-1, stale_if_error=0.0), failure, NOW)


FORBIDDING = ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=1"]
EVERYTHING = frozenset(("error", "timeout", "updating", "http_500", "http_503", "http_404"))


@given(
    st.sampled_from(FORBIDDING),
    st.integers(1, 1000),
    st.lists(st.sampled_from(["max-age=1", "public", "x", "immutable"])),
    st.sampled_from(sorted(EVERYTHING)),
)
def test_nothing_is_served_stale_that_the_server_wants_to_be_asked_for(word, later, others, failure):
    """RFC 9111, section 4.2.4, whatever the route and the client say."""
    rules = attrs.evolve(OBEYING, use_stale=EVERYTHING)
    fields = [(b"Cache-Control", ", ".join([*others, word, "max-age=1"]).encode()), (b"ETag", b'"x"')]
    found = storing(rules, request(), 200, fields, NOW, NOW)
    assert found is not None
    assert not serves_stale(rules, found, failure, NOW + 1 + later)
    for line in ("Cache-Control: max-stale", "X: y"):
        assert reuse(rules, found, request(line), NOW + 1 + later) is Reuse.REVALIDATE


HEAD = StoredHead(200, [(b"Cache-Control", b"max-age=60"), (b"ETag", b'"x"'), (b"A", b"1")], stored(-5))


def after_304(*lines, asked=None, rules=NO_STALE, delay=0.0):
    new = [tuple(line.encode().split(b": ", 1)) for line in lines]
    return revalidated(rules, asked or request(), HEAD, new, NOW - delay, NOW)


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([], 60),
        (["Cache-Control: max-age=5"], 5),
        (["Age: 20"], 40),
        (["Expires: 0"], 60),
        (["Date: Mon, 24 Nov 2025 15:59:50 GMT"], 50),
        (["Cache-Control: no-cache"], 0),
    ],
)
def test_a_304_makes_what_is_stored_fresh_again(lines, left):
    for asked in (request(), request(method="HEAD")):
        found = after_304(*lines, asked=asked)
        assert found.freshness.time_left(NOW) == left
        assert found.freshness.no_cache == ("no-cache" in str(lines))
        assert (b"A", b"1") in found.fields
        assert b"age" not in {name.lower() for name, _ in found.fields}
    assert after_304(*lines, delay=1.0).freshness.age(NOW) >= 1


@pytest.mark.parametrize("line", ["Cache-Control: no-store", "Cache-Control: private", "Vary: *", "Set-Cookie: a=b"])
def test_a_304_may_say_that_a_response_must_not_be_stored_any_more(line):
    assert after_304(line) is None


def test_no_client_changes_or_removes_what_is_stored_by_a_304_that_is_its_own():
    assert after_304("Cache-Control: max-age=60", asked=AUTHORIZED) is HEAD
    assert after_304("Cache-Control: private", asked=AUTHORIZED) is HEAD
    assert after_304(asked=request("Cache-Control: no-store"), rules=OBEYING) is HEAD
    assert after_304("Cache-Control: max-age=60, public", asked=AUTHORIZED).freshness.is_fresh(NOW)
