"""What a route changes of its servers' responses."""

from __future__ import annotations

import pytest

from lb.http.response_changes import ResponseChanges
from lb.http1.response_head import ResponseHeads
from lb.model import RouteSpec
from lb.model.http import HeaderEdits, ToPool
from tests.support.exchanges import FakeExchange, request_head

ACCEPTS = b"Accept-Encoding: br, gzip;q=0.5"
TEXT = (b"Content-Type: text/html", b"Content-Length: 5000", b'ETag: "a"')


class Server:
    name = "a"


def changes(**spec):
    return ResponseChanges(RouteSpec("web", ToPool("web"), **spec))


def response(*lines, status=b"200 OK"):
    return ResponseHeads().read(b"HTTP/1.1 %b\r\n" % status + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def change(route, head, *asked):
    """Return the content coding of a response, and its changed fields; None if nothing changes."""
    variant = route.of(FakeExchange(request_head(*asked)), head, Server())
    if variant is None:
        return None
    fields = [(field.line[: len(field.name)], field.value) for field in head.block.end_to_end()]
    return variant.coding, variant.change.apply(fields)


def test_a_route_without_changes_is_false():
    assert not changes()
    assert changes(compress=True)
    assert changes(response_headers=HeaderEdits(remove=("Server",)))


def test_fields_are_edited_and_may_name_the_server():
    edits = HeaderEdits(set=(("X-Server", "{server}"), ("X-Path", "{path}")), remove=("Server",))
    head = response(b"Server: nginx", b"Content-Length: 2", b"X-Path: 1")
    assert change(changes(response_headers=edits), head) == (b"", [(b"X-Server", b"a"), (b"X-Path", b"/")])


def test_text_is_compressed_for_who_takes_it():
    coding, fields = change(changes(compress=True), response(*TEXT), ACCEPTS)
    assert coding == b"br"
    assert set(fields) == {
        (b"Content-Type", b"text/html"),
        (b"Content-Encoding", b"br"),
        (b"ETag", b'W/"a"'),
        (b"Vary", b"Accept-Encoding"),
    }


def test_who_takes_no_coding_gets_the_text_and_caches_are_told():
    coding, fields = change(changes(compress=True), response(*TEXT))
    assert coding == b""
    assert (b"Vary", b"Accept-Encoding") in fields
    assert (b"ETag", b'"a"') in fields


@pytest.mark.parametrize(
    "head",
    [
        response(b"Content-Type: image/png", b"Content-Length: 5000"),
        response(b"Content-Type: text/html", b"Content-Length: 500"),
        response(*TEXT, b"Content-Encoding: gzip"),
        response(*TEXT, b"Cache-Control: no-transform"),
        response(*TEXT, b"Content-Range: bytes 0-4999/9000", status=b"206 Partial Content"),
        response(b"Content-Type: text/html", status=b"204 No Content"),
    ],
)
def test_other_responses_pass_unchanged(head):
    assert change(changes(compress=True), head, ACCEPTS) is None


def test_edits_see_a_compressed_response_as_the_client_gets_it():
    edits = HeaderEdits(set=(("ETag", ""), ("X-A", "1")), add=(("Vary", "X-B"),))
    coding, fields = change(changes(compress=True, response_headers=edits), response(*TEXT), ACCEPTS)
    assert coding == b"br"
    assert (b"X-A", b"1") in fields
    assert [value for name, value in fields if name == b"Vary"] == [b"Accept-Encoding", b"X-B"]
    assert b"ETag" not in dict(fields)


def test_a_text_of_unknown_length_is_compressed():
    coding, _ = change(
        changes(compress=True), response(b"Content-Type: text/plain", b"Transfer-Encoding: chunked"), ACCEPTS
    )
    assert coding == b"br"
