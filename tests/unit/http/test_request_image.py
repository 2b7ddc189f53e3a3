"""The head of a request as its server gets it."""

from __future__ import annotations

import itertools
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.forwarded import connection_lines, read_forwarding
from lb.http.header_edits import FieldChange
from lb.http.request_image import RequestImages
from lb.http1.request_head import RequestHeads
from lb.model import RouteSpec, ServerSpec
from lb.model.address import Address, Client, Networks
from lb.model.http import HeaderEdits, ToPool
from tests.support.exchanges import request_head

SERVER = ServerSpec("a", Address("10.0.0.1:8080", host="10.0.0.1", port=8080))
NOBODY = Networks()
PEER = Client("192.0.2.1", 4001)
OURS = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Request-Id: one\r\n"
FORWARDED_NAMES = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id"}


def exchange(head, *, edits=None, expects_continue=False, trusted=NOBODY, peer=PEER):
    """In place of an Exchange: a request of this head, with ``edits`` of its steps."""
    told = read_forwarding(head, peer, b"http", trusted, b"one").change if trusted else None
    return SimpleNamespace(
        head=head,
        told=told,
        edits=edits,
        id="one",
        client=peer,
        scheme=b"http",
        expects_continue=expects_continue,
        carrier=SimpleNamespace(forwarded_lines=connection_lines(peer.host, b"http")),
        forwarded=lambda: read_forwarding(head, peer, b"http", Networks(), b"one").change.fields,
    )


def images(**spec):
    return RequestImages(RouteSpec("web", ToPool("web"), **spec))


def image(*lines, passes_expect=True, server=SERVER, spec=None, more=None, **head):
    found = request_head(*lines, **head)
    return images(**(spec or {})).image(exchange(found, **(more or {})), server, passes_expect=passes_expect)


def fields(data):
    """Return the fields of a request as another server of ours would read them; it must be one."""
    head = RequestHeads().read(data)
    found = [(field.name, field.value) for field in head.block.fields]
    return found if head.cookie_line is None else [*found, (b"cookie", head.cookie_line)]


def test_a_usual_request_is_written_anew():
    lines = (b"Accept:  */*  ", b"Cookie: a=1", b"User-Agent: curl")
    assert image(*lines, target=b"/a?b") == (
        b"GET /a?b HTTP/1.1\r\nHost: www.example.com\r\nVia: 1.1 trio-lb\r\n"
        b"Accept: */*\r\nUser-Agent: curl\r\nCookie: a=1\r\n"
        b"X-Forwarded-Host: www.example.com\r\n" + OURS + b"\r\n"
    )


def test_several_cookie_lines_stay_in_their_order():
    for lines in itertools.permutations((b"Cookie: a=1", b"cookie: b=2", b"COOKIE: c=3")):
        passed = [value for name, value in fields(image(b"Accept: */*", *lines)) if name == b"cookie"]
        assert passed == [line[8:] for line in lines]
        assert request_head(*lines).cookies == b"; ".join(passed)


def test_what_is_for_this_connection_only_is_not_passed_on():
    lines = [b"Connection: keep-alive, X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"Proxy-Connection: close"]
    lines += [b"TE: trailers", b"Upgrade: h2c", b"Proxy-Authorization: Basic x"]
    passed = {name for name, _ in fields(image(*lines))}
    assert not passed & {b"connection", b"x-hop", b"keep-alive", b"proxy-connection", b"te", b"upgrade"}


def test_the_body_is_framed_anew():
    assert (b"content-length", b"5") in fields(image(b"Content-Length: 5", method=b"POST"))
    assert (b"transfer-encoding", b"chunked") in fields(image(b"Transfer-Encoding: Chunked", method=b"POST"))
    names = [name for name, _ in fields(image())]
    assert b"content-length" not in names
    assert b"transfer-encoding" not in names


def test_an_upgrade_is_asked_for_and_an_expectation_is_passed_on_if_the_server_shall_answer_it():
    asked = fields(image(b"Connection: Upgrade", b"Upgrade: websocket"))
    assert (b"connection", b"upgrade") in asked
    assert (b"upgrade", b"websocket") in asked
    for passes in (True, False):
        data = image(
            b"Expect: 100-continue",
            b"Content-Length: 5",
            method=b"POST",
            passes_expect=passes,
            more={"expects_continue": True},
        )
        assert ((b"expect", b"100-continue") in fields(data)) == passes


@pytest.mark.parametrize(
    ("host_header", "server", "host"),
    [
        ("client", SERVER, b"www.example.com"),
        ("server", SERVER, b"10.0.0.1:8080"),
        ("server", ServerSpec("a", Address.parse("unix:/run/a.sock")), b"localhost"),
        ("inner.example", SERVER, b"inner.example"),
    ],
)
def test_the_host_that_the_server_sees(host_header, server, host):
    data = image(spec={"host_header": host_header}, server=server)
    assert (b"host", host) in fields(data)
    assert (b"x-forwarded-host", b"www.example.com") in fields(data)


def test_routes_change_target_and_fields():
    edits = HeaderEdits(set=(("X-A", "{client_ip}"), ("Accept", "text/html")), add=(("X-B", "b"),), remove=("Cookie",))
    spec = {"strip_prefix": "/videos", "add_prefix": "/v2", "request_headers": edits}
    data = image(b"Accept: */*", b"Cookie: a=1", b"X-B: 1", target=b"/videos/a?b", spec=spec)
    assert data.startswith(b"GET /v2/a?b HTTP/1.1\r\n")
    found = fields(data)
    assert {(b"x-a", b"192.0.2.1"), (b"accept", b"text/html"), (b"x-b", b"1"), (b"x-b", b"b")} <= set(found)
    assert b"cookie" not in dict(found)
    assert (b"accept", b"*/*") not in found


def test_an_image_that_was_made_for_one_client_tells_nothing_of_it_to_the_next():
    head, made = request_head(b"Accept: */*"), images()
    first = made.image(exchange(head), SERVER, passes_expect=True)
    second = made.image(exchange(head, peer=Client("192.0.2.77", 1)), SERVER, passes_expect=True)
    assert (b"x-forwarded-for", b"192.0.2.77") in fields(second)
    assert b"192.0.2.1" in first
    assert b"192.0.2.1\r" not in second


def test_behind_a_trusted_proxy_its_fields_are_extended():
    trusted = Networks(("192.0.2.0/24",))
    lines = (b"X-Forwarded-For: 198.51.100.7", b"X-Request-Id: theirs", b"X-Forwarded-Proto: https")
    found = fields(image(*lines, more={"trusted": trusted}))
    assert (b"x-forwarded-for", b"198.51.100.7, 192.0.2.1") in found
    assert (b"x-request-id", b"theirs") in found
    assert (b"x-forwarded-proto", b"https") in found


NAMES = [
    b"Accept",
    b"X-A",
    b"x-a",
    b"X-Forwarded-For",
    b"X-Real-IP",
    b"Connection",
    b"TE",
    b"Trailer",
    b"Via",
    b"Range",
]
LINES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([b"", b"1", b"x, y", b"close", b"X-A"])), max_size=8)


@given(LINES)
def test_the_usual_way_and_that_with_changes_tell_the_server_the_same(lines):
    head = request_head(*(b"%s: %s" % line for line in lines))
    usual = images().image(exchange(head), SERVER, passes_expect=True)
    changed = images().image(exchange(head, edits=FieldChange()), SERVER, passes_expect=True)
    assert Counter(fields(usual)) == Counter(fields(changed))
    assert Counter(name for name, _ in fields(usual) if name in FORWARDED_NAMES) == dict.fromkeys(FORWARDED_NAMES, 1)


def test_requests_with_the_same_fields_differ_in_what_differs():
    """What follows the target is kept with the fields, for each route, host and cookie the right one."""
    heads, plain, other = RequestHeads(), images(), images(host_header="other.example.com")
    targets = (b"/a", b"/b", b"http://www.example.com/c", b"/d")
    for made, host in ((plain, b"www.example.com"), (other, b"other.example.com"), (plain, b"www.example.com")):
        for target in targets:
            for cookie in (b"", b"Cookie: a=%s\r\n" % target[-1:]):
                lines = b"Host: www.example.com\r\nAccept: */*\r\n%s" % cookie
                for _ in range(2):
                    head = heads.read(b"GET %s HTTP/1.1\r\n%s\r\n" % (target, lines))
                    assert made.common(head) == (
                        b"GET /%s HTTP/1.1\r\nHost: %s\r\nVia: 1.1 trio-lb\r\nAccept: */*\r\n%s"
                        b"X-Forwarded-Host: www.example.com\r\n" % (target[-1:], host, cookie)
                    )
