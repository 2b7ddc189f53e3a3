"""The fields of a stored response that are written once for those who get the same."""

from __future__ import annotations

import attrs

from lb.cache.entry import CacheEntry
from lb.cache.freshness import Freshness
from lb.http.sent_fields import LastFields

HIT = ((b"Cache-Status", b"trio-lb; hit"),)


def entry(text=b"a"):
    return CacheEntry(b"k", b"", 200, [(b"X-Text", text)], Freshness(100.0, 0.0, 60.0), b"")


def test_those_who_get_the_same_get_the_same_lines():
    last, stored = LastFields(), entry()
    first = last.of(stored, HIT, 100.2)
    assert last.of(stored, tuple(HIT), 100.9) is first
    assert b"Age: 0\r\n" in first.lines


def test_another_response_another_second_and_other_fields_are_written_anew():
    last, stored = LastFields(), entry()
    last.of(stored, HIT, 100.0)
    assert b"X-Text: b\r\n" in last.of(entry(b"b"), HIT, 100.0).lines
    assert b"Age: 1\r\n" in last.of(stored, HIT, 101.0).lines
    assert b"Cache-Status: other\r\n" in last.of(stored, ((b"Cache-Status", b"other"),), 101.0).lines
    stored.fields, stored.freshness = [(b"X-Text", b"new")], attrs.evolve(stored.freshness)
    assert b"X-Text: new\r\n" in last.of(stored, HIT, 101.0).lines
