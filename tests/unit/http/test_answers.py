"""Targets that answer by themselves: redirects that lead where the configuration says, and texts."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.answers import RedirectTarget, RespondTarget
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHeads
from lb.model.http import Redirect, Respond
from tests.support.exchanges import Answer, FakeExchange


def answer(target, line=b"GET /a?b HTTP/1.1", host=b"Host: a.example:8080\r\n"):
    exchange = FakeExchange(RequestHeads().read(line + b"\r\n" + host + b"\r\n"))
    target.begin(exchange)
    return exchange.answer


def location(template, line=b"GET /a?b HTTP/1.1"):
    found = answer(RedirectTarget(Redirect(template)), line)
    assert found == Answer(308, {b"Location": found.fields[b"Location"]}, b"", "ok")
    return found.fields[b"Location"]


def test_a_redirect_to_https_keeps_host_and_uri():
    assert location("https://{host}{uri}") == b"https://a.example/a?b"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_has_the_status_that_is_configured(status):
    assert answer(RedirectTarget(Redirect("/x", status))) == Answer(status, {b"Location": b"/x"}, b"", "ok")


@pytest.mark.parametrize(
    ("template", "path", "expected"),
    [
        ("{uri}", b"//evil.example/", b"/evil.example/"),
        ("{path}", b"///evil.example/?x", b"/evil.example/"),
        ("{uri}", b"/\\evil.example/", b"/%5Cevil.example/"),
        ("//cdn.example{uri}", b"//x", b"//cdn.example//x"),
        ("https://x.example{uri}", b"//evil.example", b"https://x.example//evil.example"),
        ("/new{path}", b'/a"<b>`{|}^', b"/new/a%22%3Cb%3E%60%7B%7C%7D%5E"),
        ("/search?{query}", b"/?a=%zz&b=%41", b"/search?a=%25zz&b=%41"),
        ("/ü x", b"/", b"/%C3%BC%20x"),
    ],
)
def test_a_location_is_a_url_and_leads_nowhere_else(template, path, expected):
    assert location(template, b"GET " + path + b" HTTP/1.1") == expected


@given(st.binary(max_size=40))
def test_no_target_makes_a_redirect_leave_the_host(target):
    try:
        found = location("{uri}", b"GET /" + target + b" HTTP/1.1")
    except MalformedError:
        return
    assert found.isascii()
    assert b"\\" not in found
    assert urlsplit(found).netloc == b""
    assert not found.startswith(b"//")


def test_a_redirect_that_needs_a_host_without_one_is_a_bad_request():
    old = {"line": b"GET / HTTP/1.0", "host": b""}
    refused = answer(RedirectTarget(Redirect("https://{host}/")), **old)
    assert (refused.status, refused.reason) == (400, "bad_request")
    assert answer(RedirectTarget(Redirect("https://a.example{uri}")), **old).status == 308


def test_a_text_is_plain_text():
    plain = {b"Content-Type": b"text/plain; charset=utf-8"}
    assert answer(RespondTarget(Respond("gone\n", 410))) == Answer(410, plain, b"gone\n", "ok")


def test_a_text_has_variables():
    assert answer(RespondTarget(Respond("{client_ip} {method} {request_id}"))).body == b"192.0.2.1 GET one"


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_a_body_has_none(status):
    assert answer(RespondTarget(Respond("text", status))) == Answer(status, {}, b"", "ok")


def test_other_braces_of_a_text_stay():
    assert answer(RespondTarget(Respond("() => {return} {host}"))).body == b"() => {return} a.example"
