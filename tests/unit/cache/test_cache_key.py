"""Keys: requests get the same response only if each value of the template is the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.cache_key import KeyTemplate
from tests.support.cached_requests import request

ASKED = request("Accept: a", "Accept: b", "Cookie: x=1; y=2", uri="/a%20b/c?q=1&r=2", host="Example.com:8080")


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{scheme}{host}{uri}", b"https\nexample.com:8080\n/a%20b/c?q=1&r=2"),
        ("{path}", b"/a%20b/c"),
        ("x{query}y", b"xq=1&r=2y"),
        ("{header:Accept}|{header:Missing}|{cookie:y}|{cookie:z}", b"a|\n|\n2|\n"),
        ("{method}", b"GET"),
        ("é{path}}", "é/a%20b/c}".encode()),
    ],
)
def test_a_key_has_the_values_of_the_request(template, key):
    assert KeyTemplate(template)(b"https", ASKED) == key


@pytest.mark.parametrize(("method", "key"), [("HEAD", b"HEAD"), ("POST", b"GET"), ("PURGE", b"GET")])
def test_what_purges_and_invalidates_has_the_key_of_get(method, key):
    assert KeyTemplate("{method}")(b"http", request(method=method)) == key


def test_a_value_does_not_run_into_the_next():
    template = KeyTemplate("{scheme}{host}{uri}")
    assert template(b"http", request(host="sexample.com")) != template(b"https", request(host="example.com"))


values = st.text("ab/?", max_size=3)


@given(st.lists(st.tuples(values, values, values), min_size=2, max_size=2))
def test_keys_differ_if_a_value_differs(both):
    one, other = (
        KeyTemplate("{header:A}a{header:B}{header:C}/")(b"http", request(f"A: {a}", f"B: {b}", f"C: {c}"))
        for a, b, c in both
    )
    assert (one == other) == (both[0] == both[1])


def test_the_key_of_a_prefix_is_a_prefix_of_the_key():
    template = KeyTemplate("{scheme}{host}{uri}")
    assert template(b"http", request(uri="/a/b?c")).startswith(template(b"http", request(uri="/a/")))


@pytest.mark.parametrize("text", ["", "x", "{}", "{Uri}", "{uri", "{uri}{", "{header:}", "{header:a b}", "{uri}\n"])
def test_what_is_no_template_is_refused(text):
    with pytest.raises(ValueError, match=r"there is no variable|must hold|must not hold|without a '}'"):
        KeyTemplate(text)
