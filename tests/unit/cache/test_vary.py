"""Variants: which requests get the same one (RFC 9111, section 4.1)."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.vary import variant_key, vary_of
from lb.model import CacheSpec, RouteCache
from tests.support.cached_requests import request

RULES = RouteCache(CacheSpec("videos"))


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], ()),
        ([b""], ()),
        ([b"Accept"], (b"accept",)),
        ([b"B, a ,", b"b"], (b"a", b"b")),
        ([b"*"], None),
        ([b"A, *"], None),
        ([b"", b", *"], None),
    ],
)
def test_the_fields_that_vary_names(values, names):
    fields = [(b"vary", value) for value in values]
    assert vary_of(RULES, fields) == names
    assert vary_of(attrs.evolve(RULES, ignore=frozenset(("vary",))), fields) == ()


def same(name, one, other):
    return variant_key((name,), request(*one)) == variant_key((name,), request(*other))


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        (b"foo", ["Foo: 1"], ["foo:  1 ", "Bar: 2"]),
        (b"foo", ["Foo: 1, 2"], ["Foo: 1", "Foo: 2"]),
        (b"foo", ["Foo: 1,2"], ["Foo: 1 , 2"]),
        (b"accept-language", ["Accept-Language: en, de"], ["Accept-Language: DE,en"]),
        (b"accept-language", ["Accept-Language: en;q=0.5, de"], ["Accept-Language: de;Q=1.0, en; q=0.50"]),
        (b"accept-encoding", ["Accept-Encoding: gzip, br"], ["Accept-Encoding: br, gzip"]),
        (b"cookie", ["Cookie: a=b"], ["cookie: a=b"]),
    ],
)
def test_what_means_the_same_gets_the_same_variant(name, one, other):
    assert same(name, one, other)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        (b"foo", ["Foo: 1"], ["Foo: 2"]),
        (b"foo", ["Foo: 1"], []),
        (b"foo", ["Foo:"], []),
        (b"foo", ["Foo: 1"], ["Foo: 1", "Foo: 2"]),
        (b"foo", ["Foo: 1, 2"], ["Foo: 2, 1"]),
        (b"foo", ["Foo: a"], ["Foo: A"]),
        (b"foo", ['Foo: "a, b"'], ['Foo: "a,b"']),
        (b"accept-language", ["Accept-Language: en;q=0.5, de"], ["Accept-Language: en, de;q=0.5"]),
        (b"accept-language", ["Accept-Language: en;q=x, de"], ["Accept-Language: de, en;q=x"]),
        (b"cookie", ["Cookie: a=b"], ["Cookie: a=c"]),
    ],
)
def test_what_may_mean_something_else_gets_another_variant(name, one, other):
    assert not same(name, one, other)


values = st.none() | st.text('ab ,"', max_size=4)  # fmt: skip


@given(st.lists(st.tuples(values, values), min_size=2, max_size=2))
def test_a_value_is_not_taken_for_that_of_the_next_field(both):
    keys, stripped = [], []
    for pair in both:
        lines = [f"{name}: {value}" for name, value in zip("AB", pair, strict=True) if value is not None]
        keys.append(variant_key((b"a", b"b"), request(*lines)))
        stripped.append([value if value is None else value.replace(" ", "") for value in pair])
    assert keys[0] != keys[1] or stripped[0] == stripped[1]
