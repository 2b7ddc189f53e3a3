"""Header blocks of responses mean, to the library hpack, what the heads of HTTP/1 say."""

from __future__ import annotations

import hpack
import pytest

from lb.http.header_edits import FieldChange
from lb.http.http2_blocks import length_block, own_block, response_block
from lb.http1.response_head import ResponseHeads
from lb.http1.wire import WrittenFields

HEAD = (
    b"HTTP/1.1 203 Whatever\r\nServer: S\r\nX-Mine: 1\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\n"
    b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 7\r\n\r\n"
)


def decoded(block):
    return [tuple(field) for field in hpack.Decoder().decode(block, raw=True)]


def test_a_response_of_a_server():
    head = ResponseHeads().read(HEAD)
    assert decoded(response_block(head, length_block(7))) == [
        (b":status", b"203"),
        (b"server", b"S"),
        (b"x-mine", b"1"),
        (b"set-cookie", b"a=b"),
        (b"set-cookie", b"c=d"),
        (b"via", b"1.1 trio-lb"),
        (b"content-length", b"7"),
    ]


def test_changes_of_a_route():
    head = ResponseHeads().read(HEAD)
    change = FieldChange(frozenset((b"server", b"set-cookie")), ((b"X-More", b"2"),))
    assert decoded(response_block(head, b"", change, status=200)) == [
        (b":status", b"200"),
        (b"x-mine", b"1"),
        (b"x-more", b"2"),
        (b"via", b"1.1 trio-lb"),
    ]


@pytest.mark.parametrize("fields", [[(b"X-A", b"1")], [(b"Date", b"then"), (b"X-A", b"1")]])
@pytest.mark.parametrize("kind", [list, WrittenFields])
def test_a_response_of_the_balancer_has_a_date_unless_the_cache_has_one(fields, kind):
    for _ in range(2):
        found = decoded(own_block(404, kind(fields), length_block(3)))
        assert found[0] == (b":status", b"404")
        assert [name for name, _ in found].count(b"date") == 1
        assert found[-2:] == [(b"x-a", b"1"), (b"content-length", b"3")]
