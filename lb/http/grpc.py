"""What gRPC means in HTTP/2, without I/O: deadlines, statuses, and errors of the balancer.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and http-grpc-status-mapping.md beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from lb.http1.field import Field
from lb.http1.request_head import RequestHead
from lb.model.request import HeaderFields

__all__ = ["DEADLINE_EXCEEDED", "UNAVAILABLE", "error_fields", "seconds_left", "status_of"]

DEADLINE_EXCEEDED, UNAVAILABLE = 4, 14
_UNKNOWN = 2
_BY_HTTP_STATUS: Mapping[int, int] = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Mapping[bytes, float] = {b"H": 3600, b"M": 60, b"S": 1, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_STATUS = re.compile(rb"[0-9]{1,9}")


def seconds_left(head: RequestHead) -> float | None:
    """Return how long the client waits for the end of the call, from its begin; None if it does not say."""
    timeout = head.block.get(b"grpc-timeout")
    match = None if timeout is None else _TIMEOUT.fullmatch(timeout)
    return None if match is None else int(match[1]) * _SECONDS[match[2]]


def status_of(fields: Iterable[Field]) -> int | None:
    """Return the status of a call, which stands in the trailers, or in a head without a body behind it."""
    for field in fields:
        if field.name == b"grpc-status":
            return int(field.value) if _STATUS.fullmatch(field.value) else _UNKNOWN
    return None


def error_fields(status: int, *, by_deadline: bool = False) -> tuple[int, HeaderFields]:
    """Return what the client of a call gets for an error of the balancer with this HTTP status: a status, and fields.

    The message is the usual phrase of the HTTP status: no byte of it needs an escape.
    """
    code = DEADLINE_EXCEEDED if by_deadline else _BY_HTTP_STATUS.get(status, _UNKNOWN)
    message = b"Deadline Exceeded" if by_deadline else HTTPStatus(status).phrase.encode()
    return code, (
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"%d" % code),
        (b"grpc-message", message),
    )
