"""Whether a response is compressed, and what its head says then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.compression import CODINGS, choose, is_compressible
from lb.http1.request_head import RequestHeads

BROWSER = b"Accept-Encoding: gzip, deflate, br, zstd"
HTML = (b"Content-Type", b"text/html; charset=utf-8")
LONG = (b"Content-Length", b"5000")
TAG = (b"ETag", b'"abc"')


def request(*lines, first=b"GET / HTTP/1.1"):
    return RequestHeads().read(b"\r\n".join([first, b"Host: a", *lines, b"", b""]))


def sent(*fields, status=200, asked=(BROWSER,), **more):
    """The fields of the response as the client gets them; None if they are unchanged."""
    variant = choose(request(*asked, **more), status, fields)
    return variant and variant.change.apply(fields)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip, deflate, br", b"br"),
        (b"gzip", b"gzip"),
        (b"zstd;q=0.5, gzip", b"gzip"),
        (b"deflate", b""),
        (b"", b""),
    ],
)
def test_the_client_gets_the_coding_that_it_prefers(accepted, coding):
    variant = choose(request(b"Accept-Encoding: " + accepted), 200, (HTML, LONG))
    assert variant.coding == coding


def test_several_lines_are_one_list():
    assert choose(request(b"Accept-Encoding: gzip;q=0.5", b"Accept-Encoding: br"), 200, (HTML,)).coding == b"br"


def test_the_head_is_that_of_the_compressed_form():
    fields = [HTML, LONG, TAG, (b"Accept-Ranges", b"bytes"), (b"Content-Digest", b"sha-256=:x:"), (b"X-A", b"b")]
    assert sent(*fields) == [
        HTML,
        (b"X-A", b"b"),
        (b"Content-Encoding", b"zstd"),
        (b"ETag", b'W/"abc"'),
        (b"Vary", b"Accept-Encoding"),
    ]


def test_head_is_answered_as_get():
    assert sent(HTML, LONG, TAG, first=b"HEAD / HTTP/1.1") == sent(HTML, LONG, TAG)


def test_the_uncompressed_form_says_that_there_are_others():
    assert sent(HTML, LONG, TAG, asked=()) == [HTML, LONG, TAG, (b"Vary", b"Accept-Encoding")]


@pytest.mark.parametrize(
    ("vary", "added"),
    [
        ([], True),
        ([(b"Vary", b"Origin")], True),
        ([(b"Vary", b"X-Accept-Encoding")], True),
        ([(b"Vary", b"Origin, accept-ENCODING")], False),
        ([(b"Vary", b"Origin"), (b"vary", b"Accept-Encoding")], False),
        ([(b"Vary", b"*")], False),
    ],
)
@pytest.mark.parametrize("asked", [(), (BROWSER,)])
def test_vary_is_added_once(vary, added, asked):
    assert ((b"Vary", b"Accept-Encoding") in sent(HTML, *vary, asked=asked)) == (added or vary == [])
    assert len([name for name, _ in sent(HTML, *vary, asked=asked) if name.lower() == b"vary"]) == len(vary) + added


@pytest.mark.parametrize(
    ("tag", "weak"), [(b'"a"', [b'W/"a"']), (b'W/"a"', [b'W/"a"']), (b'""', [b'W/""']), (b"a", []), (b"", [])]
)
def test_a_tag_becomes_weak_and_what_is_none_is_dropped(tag, weak):
    assert [value for name, value in sent(HTML, (b"ETag", tag)) if name == b"ETag"] == weak


@pytest.mark.parametrize(
    "fields",
    {
        "an image": [(b"Content-Type", b"image/png"), LONG],
        "no type": [LONG],
        "short": [HTML, (b"Content-Length", b"1023")],
        "empty": [HTML, (b"Content-Length", b"0")],
        "compressed by the server": [HTML, LONG, (b"content-encoding", b"br")],
        "not to be changed": [HTML, LONG, (b"Cache-Control", b"public, No-Transform")],
        "not to be changed, in a second line": [
            HTML,
            (b"Cache-Control", b"public"),
            (b"Cache-Control", b"no-transform"),
        ],
        "a part": [HTML, (b"Content-Range", b"bytes 0-1/2")],
    }.items(),
    ids=lambda pair: pair[0],
)
def test_what_must_not_be_compressed_passes_unchanged(fields):
    assert sent(*fields[1]) is None


@pytest.mark.parametrize("status", [101, 103, 204, 205, 206, 304])
def test_a_response_without_a_whole_body_passes_unchanged(status):
    assert sent(HTML, status=status) is None


@pytest.mark.parametrize("status", [200, 201, 403, 404, 500])
def test_any_whole_body_is_compressed(status):
    assert (b"Content-Encoding", b"zstd") in sent(HTML, (b"Content-Length", b"1024"), status=status)


def test_a_body_of_unknown_length_is_compressed():
    assert (b"Content-Encoding", b"zstd") in sent(HTML)


def test_a_request_may_forbid_changes():
    assert sent(HTML, LONG, asked=(BROWSER, b"Cache-Control: no-transform")) is None


def test_a_client_of_http_1_0_gets_it_uncompressed():
    assert sent(HTML, LONG, first=b"GET / HTTP/1.0") == [HTML, LONG, (b"Vary", b"Accept-Encoding")]


def test_not_modified_has_the_tag_that_the_client_knows():
    asked = (BROWSER, b'If-None-Match: "x", W/"abc"')
    assert sent(TAG, status=304, asked=asked) == [(b"ETag", b'W/"abc"'), (b"Vary", b"Accept-Encoding")]
    assert sent(TAG, status=304, asked=(BROWSER, b'If-None-Match: "abc"')) is None
    assert sent((b"ETag", b'W/"abc"'), status=304, asked=asked) is None
    assert sent(status=304, asked=asked) is None


@pytest.mark.parametrize(
    "content_type",
    [
        b"text/plain",
        b"TEXT/HTML;charset=utf-8",
        b"text/event-stream",
        b"text/css ; x=y",
        b"application/json",
        b"application/javascript",
        b"application/xml",
        b"application/xhtml+xml",
        b"application/problem+json",
        b"application/manifest+json",
        b"application/vnd.apple.mpegurl",
        b"application/dash+xml",
        b"application/wasm",
        b"image/svg+xml",
        b"font/ttf",
    ],
)
def test_texts_are_compressed(content_type):
    assert is_compressible(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"image/png",
        b"video/mp4",
        b"font/woff2",
        b"application/zip",
        b"application/octet-stream",
        b"application/grpc",
        b"application/grpc+json",
        b"application/grpc-web+json",
        b"multipart/x-mixed-replace; boundary=text/plain",
        b"text",
        b"image/png; x=text/plain",
    ],
)
def test_what_is_compressed_inside_or_not_text_is_not(content_type):
    assert not is_compressible(content_type)


names = st.sampled_from(
    [b"Content-Type", b"Content-Encoding", b"Cache-Control", b"Vary", b"ETag", b"Content-Range", b"X", b"content-type"]
)
values = st.sampled_from(
    [b"text/css", b"image/png", b"gzip", b"no-transform", b"*", b'"a"', b"bytes 0-1/2", b"", b"a, b"]
)


@given(
    st.lists(st.tuples(names, values), max_size=6),
    st.sampled_from([200, 204, 206, 304, 404, 500]),
    st.binary(max_size=20),
)
def test_whatever_comes_the_head_stays_consistent(fields, status, accepted):
    clean = accepted.translate(None, bytes((*range(32), 127)))
    asked = request(b"Accept-Encoding: " + clean)
    variant = choose(asked, status, fields)
    if variant is None:
        return
    after = variant.change.apply(fields)
    codings = [value for name, value in after if name.lower() == b"content-encoding" and value]
    assert codings == ([variant.coding] if variant.coding else [])
    assert variant.coding in (b"", *CODINGS)
    assert not variant.coding or b"content-length" not in [name.lower() for name, _ in after]
    assert b"accept-encoding" in b",".join(value.lower() for name, value in after if name.lower() == b"vary") or any(
        b"*" in value for name, value in after if name.lower() == b"vary"
    )
