"""Heads as they are sent: written anew from what was read, never copied through."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from lb.http1.derived import derived
from lb.http1.response_head import ResponseHead

__all__ = [
    "CHUNKED",
    "CLOSE",
    "KEEP_ALIVE",
    "VIA",
    "WrittenFields",
    "field_lines",
    "has_date",
    "length_line",
    "response_image",
    "status_line",
]

VIA = b"Via: 1.1 trio-lb\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
"""For clients of HTTP/1.0."""

_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


class WrittenFields(tuple[tuple[bytes, bytes], ...]):  # noqa: SLOT001 - it keeps its lines
    """Fields that are sent many times: their lines are written once."""

    @derived
    def lines(self) -> bytes:
        return _lines(self)

    @derived
    def has_date(self) -> bool:
        return _has_date(self)


def status_line(status: int, reason: bytes | None = None) -> bytes:
    """Return a status line with its CRLF. ``reason``: as the server sent it; None = the usual one."""
    return b"HTTP/1.1 %d %s\r\n" % (status, _PHRASES.get(status, b"") if reason is None else reason)


def length_line(length: int) -> bytes:
    return b"Content-Length: %d\r\n" % length


def field_lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the lines of fields, each with its CRLF."""
    return fields.lines if isinstance(fields, WrittenFields) else _lines(fields)


def _lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%s: %s\r\n" % field for field in fields])


def has_date(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return True for a response of the cache: its Date is that of the server."""
    return fields.has_date if isinstance(fields, WrittenFields) else _has_date(fields)


def _has_date(fields: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(len(name) == 4 and name.lower() == b"date" for name, _ in fields)


def response_image(head: ResponseHead, fields: bytes, framing: bytes, connection: bytes) -> bytes:
    """Return a server's head for a client, with the empty line. All but ``head`` are lines."""
    return b"%s%s%s%s%s\r\n" % (status_line(head.status, head.reason), fields, VIA, framing, connection)
