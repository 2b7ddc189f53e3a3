"""What answers conditions and ranges."""

from __future__ import annotations

import pytest

from lb.http1.request_head import RequestHeads
from lb.media.http_answers import http_answer
from lb.media.http_server import FileBody
from lb.media.responses import MediaFile, MediaResponse

NOW = 1_764_000_000.0
MODIFIED = 1_700_000_000
FILE = MediaFile("/films", "film.mp4", 1_000, MODIFIED * 10**9 + 5)
OF_FILE = MediaResponse(200, "video/mp4", "max-age=3600", etag='"1"', file=FILE)
PLAYLIST = MediaResponse(200, "text/plain", "max-age=1", (b"ab", b"c"), etag='"2"')


def answer(response, *fields, method=b"GET", now=NOW):
    head = b"%s / HTTP/1.1\r\nHost: a\r\n%s\r\n" % (method, b"".join(field + b"\r\n" for field in fields))
    return http_answer(RequestHeads().read(head), response, now)


def test_a_text_is_sent_in_whole_whatever_range_is_asked_for():
    found = answer(PLAYLIST, b"Range: bytes=0-1")
    assert (found.status, found.body) == (200, b"abc")
    assert "Accept-Ranges" not in dict(found.fields)


@pytest.mark.parametrize(
    ("asked", "status", "start", "length"),
    [
        (b"bytes=0-9", 206, 0, 10),
        (b"bytes=990-", 206, 990, 10),
        (b"bytes=-5", 206, 995, 5),
        (b"bytes=999-2000", 206, 999, 1),
        (b"bytes=0-1,5-6", 200, 0, 1_000),
        (b"lines=0-1", 200, 0, 1_000),
    ],
)
def test_a_range_of_a_file(asked, status, start, length):
    found = answer(OF_FILE, b"Range: " + asked)
    assert (found.status, found.body, found.length) == (status, FileBody(FILE, start, length), length)
    told = f"bytes {start}-{start + length - 1}/1000" if status == 206 else None
    assert dict(found.fields).get("Content-Range") == told


def test_a_range_beyond_the_end():
    found = answer(OF_FILE, b"Range: bytes=1000-")
    assert (found.status, found.body, dict(found.fields)["Content-Range"]) == (416, b"", "bytes */1000")


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (b'If-None-Match: "1"', 304),
        (b'If-None-Match: "0"', 200),
        (b"If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT", 304),
        (b"If-Modified-Since: Tue, 14 Nov 2023 22:13:19 GMT", 200),
        (b'If-Match: "0"', 412),
        (b'If-Match: "1"', 200),
    ],
)
def test_conditions(field, status):
    found = answer(OF_FILE, field)
    assert found.status == status
    assert (found.body == b"") == (status != 200)


def test_a_range_of_another_state_is_not_sent():
    assert answer(OF_FILE, b"Range: bytes=0-1", b'If-Range: "1"').status == 206
    assert answer(OF_FILE, b"Range: bytes=0-1", b'If-Range: "0"').status == 200


def test_a_file_tells_when_it_was_modified_but_not_in_the_future():
    assert dict(answer(OF_FILE).fields)["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert dict(answer(OF_FILE, now=0.0).fields)["Last-Modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_a_failure_is_answered_by_no_condition():
    found = answer(MediaResponse(404, "text/plain", "max-age=1", (b"No.",)), b'If-Match: "1"', b"Range: bytes=0-1")
    assert (found.status, found.body) == (404, b"No.")
