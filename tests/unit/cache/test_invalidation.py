"""Which responses are no longer valid after an unsafe request: RFC 9111, section 4.4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.cache.invalidation import also_invalidated, invalidates
from tests.support.cached_requests import request


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"M-SEARCH", b"UNKNOWN"])
def test_an_unsafe_method_invalidates_unless_it_failed(method):
    assert [status for status in (200, 204, 303, 399, 400, 404, 500) if invalidates(method, status)] == [
        200, 204, 303, 399,
    ]  # fmt: skip


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PROPFIND"])
def test_a_safe_method_invalidates_nothing(method):
    assert not invalidates(method, 200)


@pytest.mark.parametrize(
    ("value", "uris"),
    [
        (b"/b?c", (b"/b?c",)),
        (b"b", (b"/a/b",)),
        (b"../b", (b"/b",)),
        (b"?x", (b"/a/?x",)),
        (b"http://example.com", (b"/",)),
        (b"http://Example.com/b#c", (b"/b",)),
        (b"//example.com/b", (b"/b",)),
        (b"https://example.com/b", ()),
        (b"http://example.com:81/b", ()),
        (b"http://other.example/b", ()),
        (b"//other.example/b", ()),
        (b"http://[x/b", ()),
        (b"mailto:a@example.com", ()),
    ],
)
def test_other_uris_of_the_same_host_are_invalid_too(value, uris):
    asked = request(method="POST", uri="/a/")
    assert also_invalidated(b"http", asked, [(b"location", value)]) == uris
    assert also_invalidated(b"http", asked, [(b"Content-Location", value), (b"Location", value)]) == uris


@given(st.binary(max_size=20))
def test_any_bytes_are_taken(value):
    for uri in also_invalidated(b"http", request(method="POST"), [(b"Location", value)]):
        assert uri.startswith(b"/")
