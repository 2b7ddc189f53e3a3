"""Pages of the balancer's own errors: as the client reads them best, with the request's id and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.error_page import error_page

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "json_wanted"),
    {
        b"": False,
        b"*/*": False,
        BROWSER: False,
        b"text/plain": False,
        b"image/png": False,
        b"application/json": True,
        b"application/problem+json": True,
        b"application/*": True,
        b"application/json, text/plain, */*": True,
        b"application/json;q=0.5, text/plain;q=0.6": False,
        b"application/json;q=0.5, text/html": False,
        b"application/json, */*;q=0.1": True,
        b"application/problem+json;q=0, */*": False,
        b"application/json;q=0, application/problem+json;q=0": False,
    }.items(),
)
def test_json_is_for_those_who_prefer_it(accept, json_wanted):
    fields, body = error_page(502, accept, "abc-1")
    assert (dict(fields)[b"Content-Type"] == b"application/problem+json") == json_wanted
    if json_wanted:
        assert json.loads(body) == {
            "type": "about:blank",
            "title": "Bad Gateway",
            "status": 502,
            "request_id": "abc-1",
        }
    else:
        assert dict(fields)[b"Content-Type"] == b"text/plain; charset=utf-8"
        assert body == b"502 Bad Gateway\nRequest id: abc-1\n"


def test_a_page_of_one_request_is_not_stored():
    fields, _ = error_page(404, b"", "abc-1")
    assert dict(fields)[b"Cache-Control"] == b"no-store"


def test_a_status_without_a_phrase_has_a_page():
    assert error_page(499, b"", "x")[1].startswith(b"499 ")


@given(st.binary(max_size=200), st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)))
def test_any_id_of_a_trusted_proxy_stays_within_the_json(accept, request_id):
    _, body = error_page(503, accept + b", application/json", request_id)
    if body.startswith(b"{"):
        assert json.loads(body)["request_id"] == request_id
