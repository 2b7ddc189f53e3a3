"""A head of HTTP/2 means what the same head of HTTP/1 means, and is read once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.http2_heads import HTTP2_VERSIONS, read_request_head
from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHeads
from lb.http2.field_section import FieldSection, SectionKind

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda name: f"x{name}".encode())
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20).map(str.encode)
PATHS = st.text("abc/%20?=&.", max_size=20).map(lambda path: f"/{path}".encode())


def heads():
    found = RequestHeads()
    found.versions = HTTP2_VERSIONS
    return found


def section(method=b"GET", path=b"/a", fields=(), **options):
    values = {"scheme": b"http", "authority": b"Lb.example:80", **options}
    return FieldSection(SectionKind.REQUEST, method, path=path, fields=tuple(fields), **values)


@given(PATHS, st.lists(st.tuples(NAMES, VALUES), max_size=5), st.none() | VALUES)
def test_a_head_is_what_http_1_would_have(path, fields, cookie):
    if cookie is not None:
        fields = [*fields, (b"cookie", cookie)]
    lines = b"".join(b"%s: %s\r\n" % field for field in fields)
    old = RequestHeads().read(b"GET %s HTTP/1.1\r\nHost: Lb.example:80\r\n%s\r\n" % (path, lines))
    new = read_request_head(section(path=path, fields=fields), heads(), ended=True)
    assert (new.method, new.target, new.host, new.cookies) == (old.method, old.target, old.host, old.cookies)
    assert [(field.name, field.value) for field in new.block.fields] == [
        (field.name, field.value) for field in old.block.fields
    ]
    assert (new.plain, new.keep_alive, new.has_body) == (old.plain, True, False)
    assert new.described == (*old.described[:3], "2")


def test_a_section_that_comes_again_has_its_head_already():
    found, shared = heads(), section()
    head = read_request_head(shared, found, ended=True)
    assert read_request_head(shared, found, ended=True) is head
    with_body = read_request_head(shared, found, ended=False)
    assert with_body is not head
    assert with_body.has_body


@pytest.mark.parametrize(("length", "chunked"), [(-1, True), (0, False), (7, False)])
def test_a_body_has_its_length_or_goes_in_chunks(length, chunked):
    fields = ((b"content-length", b"%d" % length),) if length >= 0 else ()
    head = read_request_head(section(b"POST", fields=fields, length=length), heads(), ended=False)
    assert head.block.chunked == chunked
    assert head.has_body == (length != 0)
    assert head.plain == (length == 0)


def test_an_extended_connect_is_the_upgrade_of_http_1_with_a_key_of_its_own():
    asked = section(b"CONNECT", protocol=b"websocket", fields=[(b"sec-websocket-version", b"13")])
    first, second = (read_request_head(asked, heads(), ended=False) for _ in range(2))
    assert (first.method, first.upgrade, first.has_body) == (b"GET", b"websocket", False)
    assert first.block.get(b"sec-websocket-key") != second.block.get(b"sec-websocket-key")


def test_other_protocols_are_not_known():
    with pytest.raises(MalformedError) as error:
        read_request_head(section(b"CONNECT", protocol=b"connect-udp"), heads(), ended=False)
    assert error.value.status == 501


def test_a_connect_without_a_protocol_has_no_path():
    head = read_request_head(section(b"CONNECT", b"", authority=b"a.example:443", scheme=b""), heads(), ended=True)
    assert (head.method, head.target) == (b"CONNECT", b"a.example:443")


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": b"get"},
        {"path": b"/a b"},
        {"path": b"/a\r\nX: y"},
        {"authority": b""},
        {"authority": b"a b"},
        {"fields": [(b"content-length", b"1"), (b"content-length", b"1")]},
        {"fields": [(b"authorization", b"a"), (b"authorization", b"b")]},
    ],
)
def test_what_http_1_refuses_is_refused(wrong):
    with pytest.raises(MalformedError):
        read_request_head(section(**wrong), heads(), ended=True)


def test_a_start_without_http_2_loads_none_of_it():
    program = "import sys, lb.http.mode; print([name for name in sys.modules if 'http2' in name or 'hpack' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['lb.http.http2_support']")
