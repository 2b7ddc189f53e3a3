"""Heads of requests for servers of HTTP/2, read back by the library hpack."""

from __future__ import annotations

import pytest
from hpack import Decoder

from lb.http.http2_images import Http2Images
from lb.http.request_image import RequestImages
from lb.http1.request_head import RequestHeads
from lb.model import HeaderEdits, RouteSpec, ServerSpec, ToPool
from lb.model.address import Address

SERVER = ServerSpec("s", Address.parse("10.0.0.1:80"))
LINES = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Request-Id: "


class Exchange:
    told = edits = None
    id = "0123456789abcdef"
    scheme = b"http"
    expects_continue = True

    def __init__(self, data):
        self.head = RequestHeads().read(data)
        self.carrier = type("Carrier", (), {"forwarded_lines": LINES})
        self.client = type("Client", (), {"host": "192.0.2.1"})

    def forwarded(self):
        return [(b"X-Forwarded-For", b"192.0.2.1"), (b"X-Request-Id", self.id.encode())]


def fields(data, *, secure=False, expect=False, **route):
    images = Http2Images(RouteSpec("r", ToPool("p"), **route), secure=secure)
    exchange = Exchange(data)
    blocks = [images.image(exchange, SERVER, passes_expect=expect) for _ in range(2)]
    assert blocks[0] == blocks[1]  # the second one is made of what was kept
    return [(bytes(name), bytes(value)) for name, value in Decoder().decode(blocks[0], raw=True)]


def test_pseudo_headers_come_first_and_what_is_of_http1_only_does_not_come():
    found = fields(
        b"POST /a?b HTTP/1.1\r\nHost: Example.com\r\nTransfer-Encoding: chunked\r\nConnection: x-hop, upgrade\r\n"
        b"X-Hop: 1\r\nUpgrade: websocket\r\nX-Name: Value: 2\r\nCookie: a=b\r\n\r\n"
    )
    assert found[:4] == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"example.com"),
        (b":path", b"/a?b"),
    ]
    assert (b"x-name", b"Value: 2") in found
    assert (b"cookie", b"a=b") in found
    assert (b"x-request-id", b"0123456789abcdef") in found
    names = [name for name, _ in found]
    assert not {b"host", b"connection", b"transfer-encoding", b"upgrade", b"x-hop", b"te", b"expect"} & set(names)
    assert names == [name.lower() for name in names]


def test_the_scheme_is_that_of_the_connection_to_the_server():
    assert (b":scheme", b"https") in fields(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", secure=True)


def test_trailers_are_taken_if_the_client_takes_them():
    assert (b"te", b"trailers") in fields(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n")
    assert b"te" not in dict(fields(b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n\r\n"))


def test_a_length_and_what_is_expected_pass():
    data = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    found = dict(fields(data, expect=True))
    assert (found[b"content-length"], found[b"expect"]) == (b"5", b"100-continue")
    assert b"expect" not in dict(fields(data))


@pytest.mark.parametrize(
    "route",
    [
        {"host_header": "server"},
        {"add_prefix": "/x", "host_header": "b.example"},
        {"request_headers": HeaderEdits(set=(("X-A", "{client_ip}"),), remove=("X-B",))},
    ],
)
def test_the_changes_of_a_route_are_those_of_http1(route):
    data = b"GET /p HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
    image = RequestImages(RouteSpec("r", ToPool("p"), **route)).image(Exchange(data), SERVER, passes_expect=False)
    line, *lines = image.removesuffix(b"\r\n\r\n").split(b"\r\n")
    expected = {tuple(each.split(b": ", 1)) for each in lines}
    found = fields(data, **route)
    assert dict(found)[b":path"] == line.split()[1]
    expected = {(name.lower(), value) for name, value in expected if name != b"Host"}
    assert {field for field in found if not field[0].startswith(b":")} == expected
    assert (b"Host", dict(found)[b":authority"]) in {tuple(each.split(b": ", 1)) for each in lines}
