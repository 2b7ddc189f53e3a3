"""Authorization of requests to the admin endpoint."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.admin.auth import refusal

LOCAL = {"host": "127.0.0.1:9900"}


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9900", "127.0.0.1", "localhost:9900", "localhost", "[::1]:9900", "[::1]", ""]
)
def test_without_a_token_those_may_ask_who_came_by_address(host):
    assert refusal("GET", "/api/v1/status", {"host": host}, "") is None


@pytest.mark.parametrize(
    "host", ["evil.example:9900", "localhost.evil.example", "127.0.0.1.evil.example", "[evil", "a:b:c"]
)
def test_without_a_token_no_name_counts_that_others_can_point_here(host):
    assert refusal("GET", "/api/v1/status", {"host": host}, "").status == 421


@pytest.mark.parametrize(
    "authorization", ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret", basic("admin:s3cret"), basic(":s3cret")]
)
def test_a_token_lets_in_under_any_name(authorization):
    headers = {"host": "lb.internal", "authorization": authorization}
    assert refusal("POST", "/api/v1/reload", headers, "s3cret") is None


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crett", "s3cret", "Digest s3cret", "Basic !", "Basic \u00e9",
     basic("s3cret"), basic("s3cret:"), "Bearer s3cr\u00e9t"],
)  # fmt: skip
def test_a_wrong_token_is_asked_for_again(authorization):
    refused = refusal("GET", "/", {**LOCAL, "authorization": authorization}, "s3cret")
    assert refused.status == 401
    assert "s3cret" not in str(refused)
    assert dict(refused.headers)["WWW-Authenticate"].startswith("Basic ")


@given(st.text(st.characters(max_codepoint=255), max_size=60), st.text(min_size=1, max_size=20))
def test_no_authorization_raises_and_only_the_token_is_right(authorization, token):
    refused = refusal("GET", "/", {**LOCAL, "authorization": authorization}, token)
    assert refused is None or refused.status == 401


def test_a_token_may_hold_any_letters():
    shown = "tökén✓".encode().decode("latin-1")
    assert refusal("GET", "/", {**LOCAL, "authorization": f"Bearer {shown}"}, "tökén✓") is None


def test_health_is_for_everybody():
    assert refusal("GET", "/healthz", {"host": "any.example"}, "s3cret") is None


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "http://127.0.0.1:9900"}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}],
)
def test_programs_and_our_own_page_may_change_things(headers):
    assert refusal("POST", "/api/v1/reload", {**LOCAL, **headers}, "") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9901"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:9900", "sec-fetch-site": "cross-site"},
    ],
)
@pytest.mark.parametrize("token", ["", "s3cret"])
def test_another_sites_page_may_not_even_if_the_browser_knows_the_token(headers, token):
    shown = {**LOCAL, **headers, "authorization": basic("admin:s3cret")}
    assert refusal("POST", "/api/v1/reload", shown, token).status == 403


@pytest.mark.parametrize("token", ["", "s3cret"])
@pytest.mark.parametrize("path", ["/api/v1/explain", "/api/v1/events", "/metrics", "/readyz", "/nothing"])
@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9901"},
        {"referer": "http://evil.example/page"},
        {"referer": "http://127.0.0.1:9901/"},
        {"referer": "http://evil.example/http://127.0.0.1:9900/"},
    ],
)
def test_another_sites_page_may_not_make_us_work(token, path, sent):
    """Browsers send Sec-Fetch-Site to https and this machine only: http to a name has Origin or Referer alone."""
    shown = {**LOCAL, "authorization": basic("admin:s3cret"), **sent}
    assert refusal("GET", path, shown, token).status == 403
    assert refusal("GET", "/", shown, token) is None, "a link to the dashboard"


@pytest.mark.parametrize("path", ["/api/v1/status", "/metrics", "/readyz"])
@pytest.mark.parametrize("site", ["same-origin", "same-site", "none"])
def test_our_own_page_may_read(path, site):
    for sent in ({"origin": "http://127.0.0.1:9900"}, {"referer": "http://127.0.0.1:9900/"}, {}):
        assert refusal("GET", path, {**LOCAL, **sent, "sec-fetch-site": site}, "") is None


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"host": "127.0.0.1:9900", "user-agent": "Prometheus/2.53", "accept": "text/plain"}, ""),
        ({"host": "lb.internal:9900", "user-agent": "Prometheus/2.53", "authorization": "Bearer s3cret"}, "s3cret"),
        ({"host": "10.1.2.3:9900", "user-agent": "kube-probe/1.30", "authorization": "Bearer s3cret"}, "s3cret"),
        ({}, ""),
        ({"host": "lb.internal", "authorization": "Bearer s3cret"}, "s3cret"),
    ],
    ids=["Prometheus", "Prometheus by name", "kubelet", "HAProxy", "HAProxy by name"],
)
def test_scrapes_and_probes_pass(path, headers, token):
    assert refusal("GET", path, headers, token) is None
