"""Which fields of a response are kept, and what a 304 or a HEAD changes: RFC 9111, sections 3.1, 3.2 and 4.3."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.stored_fields import is_same, stored_fields, tags_of, updated, validators_of
from lb.model import CacheSpec, RouteCache
from lb.model.http_dates import http_date

RULES = RouteCache(CacheSpec("videos"))
NOW = 1_764_000_000
DATE = "Date: x"


def fields(*lines):
    return [tuple(line.encode().split(b": ", 1)) for line in lines]


def test_fields_of_the_connection_are_not_kept():
    lines = ["A: 1", "Connection: B, close", "Keep-Alive: 5", "B: 2", "Transfer-Encoding: chunked", "Upgrade: x"]
    lines += ["Proxy-Authenticate: x", "Proxy-Authentication-Info: x", "TE: x", "Trailer: A", "b: 3", "C: 4"]
    assert stored_fields(RULES, fields(DATE, *lines), NOW)[1:] == fields("A: 1", "C: 4")


def test_fields_that_private_and_no_cache_name_are_not_kept():
    lines = ['Cache-Control: private="X-A", no-cache="x-b, X-C"', "X-A: 1", "X-B: 2", "X-C: 3", "X-D: 4"]
    assert stored_fields(RULES, fields(DATE, *lines), NOW)[1:] == fields(lines[0], "X-D: 4")
    ignoring = attrs.evolve(RULES, ignore=frozenset(("cache-control",)))
    assert stored_fields(ignoring, fields(DATE, *lines), NOW)[1:] == fields(*lines)
    assert stored_fields(RULES, fields(*lines, "CDN-Cache-Control: public"), NOW)[1:5] == fields(*lines[1:])


def test_one_date_is_kept_and_no_age():
    lines = ["Date: x", "A: 1", "Age: 5", "date: y", "A: 2"]
    assert stored_fields(RULES, fields(*lines), NOW) == fields("Date: x", "A: 1", "A: 2")
    assert stored_fields(RULES, fields("Age: 5", "A: 1"), NOW) == fields("A: 1", f"Date: {http_date(NOW).decode()}")


def test_a_304_replaces_fields_but_not_those_of_the_body():
    stored = fields("A: 1", "A: 2", "B: 3", "Content-Length: 9", "Content-Type: text/html", "Content-Encoding: gzip")
    new = fields("a: 4", "C: 5", "Content-Length: 0", "Content-Type: text/plain", "content-encoding: br", "Age: 5")
    new += fields("Connection: D", "D: 6", "Content-Range: bytes 0-1/2", DATE)
    assert updated(RULES, [*stored, *fields("Date: y")], new, NOW) == [*stored[2:], *fields("a: 4", "C: 5", DATE)]


names = st.sampled_from([b"A", b"a", b"B", b"Content-Length", b"Connection", b"Age", b"Date", b"ETag"])
heads = st.lists(st.tuples(names, st.sampled_from([b"x", b"y"])), max_size=6)


@given(heads, heads)
def test_an_update_again_changes_nothing(stored, new):
    once = updated(RULES, stored_fields(RULES, stored, NOW), new, NOW)
    assert sorted(updated(RULES, once, new, NOW)) == sorted(once)
    assert stored_fields(RULES, once, NOW) == once


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        (['ETag: "x"', "Last-Modified: y"], ['If-None-Match: "x"', "If-Modified-Since: y"]),
        (['etag: W/"x"'], ['If-None-Match: W/"x"']),
        (["Last-Modified: y"], ["If-Modified-Since: y"]),
        (['ETag: "x"', 'ETag: "y"', "Last-Modified: y"], ["If-Modified-Since: y"]),
        (["Date: y"], []),
    ],
)
def test_what_asks_whether_a_response_is_still_the_same(lines, asked):
    assert validators_of(fields(*lines)) == fields(*asked)


@pytest.mark.parametrize(
    ("line", "other", "same"),
    [
        ('ETag: "x"', 'etag: "x"', True),
        ('ETag: "x"', 'ETag: "y"', False),
        ('ETag: "x"', "A: 1", True),
        ("Content-Length: 5", "Content-Length: 6", False),
        ("Last-Modified: y", "Last-Modified: z", False),
        ("A: 1", "A: 2", True),
    ],
)
def test_a_head_shows_whether_what_is_stored_is_still_the_same(line, other, same):
    assert is_same(fields(line), fields(other)) == same


@pytest.mark.parametrize(
    ("lines", "tags"),
    [
        (["Surrogate-Key: a  b", "surrogate-key: c a"], (b"a", b"b", b"c")),
        (["Cache-Tag: a b,c, ,d"], (b"a b", b"c", b"d")),
        (["Cache-Tag: a", "Surrogate-Key: a b"], (b"a", b"b")),
        (["A: b"], ()),
    ],
)
def test_tags_are_words_or_members_of_a_list(lines, tags):
    assert tags_of(fields(*lines)) == tags
