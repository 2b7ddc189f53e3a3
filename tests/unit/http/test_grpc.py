"""What gRPC means in HTTP/2: which requests are calls, their deadlines, statuses and errors."""

from __future__ import annotations

import pytest

from lb.http.grpc import error_fields, seconds_left, status_of
from lb.http.http2_heads import HTTP2_VERSIONS, read_request_head
from lb.http1.field import read_field
from lb.http1.request_head import RequestHeads
from lb.http2.field_section import FieldSection, SectionKind


class Http2Heads(RequestHeads):
    versions = HTTP2_VERSIONS


def head(*fields):
    section = FieldSection(SectionKind.REQUEST, b"POST", b"http", b"a", b"/s.S/M", fields=fields)
    return read_request_head(section, Http2Heads(), ended=False)


@pytest.mark.parametrize(
    ("content_type", "is_call"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=utf-8", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
    ],
)
def test_calls_are_told_by_their_type(content_type, is_call):
    assert head((b"content-type", content_type)).is_grpc is is_call


def test_there_are_no_calls_of_http1():
    lines = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n\r\n"
    assert not RequestHeads().read(lines).is_grpc
    assert not head().is_grpc


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"250m", 0.25),
        (b"99999999u", 99.999999),
        (b"5n", 5e-9),
        (b"100000000m", None),
        (b"5", None),
        (b"5s", None),
        (b"-5m", None),
        (b"", None),
    ],
)
def test_deadlines(value, seconds):
    assert seconds_left(head((b"grpc-timeout", value))) == (None if seconds is None else pytest.approx(seconds))
    assert seconds_left(head()) is None


@pytest.mark.parametrize(("value", "status"), [(b"0", 0), (b"14", 14), (b"x", 2), (b"", 2), (b"1234567890", 2)])
def test_statuses(value, status):
    assert status_of([read_field(b"x: y"), read_field(b"grpc-status: " + value)]) == status
    assert status_of([]) is None


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 13), (401, 16), (403, 7), (404, 12), (413, 2), (429, 14), (502, 14), (503, 14), (504, 14)],
)
def test_errors_of_the_balancer_have_the_status_that_grpc_gives_them(status, code):
    found, fields = error_fields(status)
    assert (found, dict(fields)[b"grpc-status"]) == (code, b"%d" % code)
    assert dict(fields)[b"content-type"] == b"application/grpc"
    assert error_fields(504, by_deadline=True)[0] == 4
