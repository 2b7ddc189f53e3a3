"""Requests and responses of the admin endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from typing import TypeAlias
from urllib.parse import parse_qs, unquote

import attrs
import h11
import trio

from lb.model.values import shown

__all__ = [
    "AdminRequest",
    "AdminResponse",
    "HttpError",
    "RouteHandler",
    "check_parameters",
    "error_response",
    "head_of",
    "json_response",
    "last_response",
    "request_of",
]


NOT_MODIFIED = 304
"""This status has no body, and no length of one."""


@attrs.frozen
class AdminRequest:
    """A request. ``headers`` have lower-case names; ``path`` and ``query`` are decoded."""

    method: str
    path: str
    query: Mapping[str, list[str]] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    parameters: Mapping[str, str] = attrs.field(factory=dict)
    """The named parts of the path, by the route."""
    disconnected: Callable[[], Awaitable[None]] = trio.sleep_forever
    """Returns once the client has closed the connection."""


@attrs.frozen
class AdminResponse:
    """A response. A body that is a generator is a stream: it has no length, and ends when the client goes."""

    body: bytes | AsyncGenerator[bytes, None]
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


RouteHandler: TypeAlias = Callable[[AdminRequest], Awaitable[AdminResponse]]


class HttpError(Exception):
    """A request gets this status, and ``detail`` as the error in the body."""

    def __init__(self, status: int, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def check_parameters(query: Mapping[str, list[str]], known: Collection[str]) -> None:
    """Raises HttpError 400 if a parameter of a request is none of these."""
    unknown = sorted(name for name in query if name not in known)
    if unknown:
        raise HttpError(400, f"unknown parameter {shown(unknown[0])}")


def request_of(head: h11.Request) -> AdminRequest:
    """Return the request with this head."""
    path, _, query = head.target.decode("latin-1").partition("?")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    return AdminRequest(head.method.decode("latin-1"), unquote(path), parse_qs(query, keep_blank_values=True), headers)


def json_response(value: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> AdminResponse:
    """Return a response with a JSON body."""
    return AdminResponse(json.dumps(value).encode(), "application/json", status, headers)


def error_response(status: int, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> AdminResponse:
    """Return ``{"error": detail}``."""
    return json_response({"error": detail}, status, headers)


def head_of(response: AdminResponse) -> h11.Response:
    """Return the head of a response."""
    return h11.Response(status_code=response.status, headers=_headers(response))


def last_response(response: AdminResponse, *, with_body: bool) -> bytes:
    """Return a short response that ends its connection. Formatted here: h11 takes ten times as long."""
    assert isinstance(response.body, bytes)  # noqa: S101 - streams go to clients with rights only
    lines = [f"HTTP/1.1 {response.status} ", *(f"{name}: {value}" for name, value in _headers(response))]
    head = "\r\n".join([*lines, "Connection: close\r\n\r\n"]).encode()
    return head + response.body if with_body else head


def _headers(response: AdminResponse) -> list[tuple[str, str]]:
    headers = [
        ("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),
        ("Content-Type", response.content_type),
        *response.headers,
    ]
    if isinstance(response.body, bytes) and response.status != NOT_MODIFIED:
        headers.append(("Content-Length", str(len(response.body))))
    return headers
