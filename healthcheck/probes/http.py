"""The http probe: one request; checks the status and optionally the body of the response."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from healthcheck.conversation import Conversation, Script
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.http_answer import read_body, read_head
from healthcheck.probe import ProbeFailed, Target
from healthcheck.probes import options

__all__ = ["HttpProbe"]

_WITH_BODY = ("POST", "PUT", "PATCH")  # methods whose requests need Content-Length: 0 for an empty body (RFC 9110, 8.6)
_STATUS_OR_RANGE = re.compile(r"([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
_OWN_HEADERS = {"host": "; use the option 'host'", "connection": "", "content-length": "", "transfer-encoding": ""}


class HttpProbe(ConversationProbe):
    """Request ``path`` with ``method`` and check the response. Its body is only read if ``expect_body`` asks for it.

    ``host`` is the Host header, by default the checked address. ``headers`` are more headers, by name.
    ``expect_status`` is a comma-separated string of status codes and ranges (``"200-299,404"``), or a list of them.
    ``expect_body`` is a regular expression for the first 64 KiB of the body, as bytes. ``reuse`` keeps one connection
    to each server for all checks.
    """

    secrets = ("headers",)  # may contain a login

    def __init__(
        self,
        method: Annotated[str, {"pattern": "^[A-Z]+$"}] = "GET",
        path: Annotated[str, {"pattern": r"^(?:/[!-~]*|\*)$"}] = "/",
        host: str = "",
        headers: Mapping[str, str] | None = None,
        expect_status: str | int | Sequence[str | int] = "200-399",
        expect_body: str = "",
        *,
        reuse: bool = False,
    ) -> None:
        self._method = options.text("method", method).encode()
        self._path = options.text("path", path).encode()
        self._host = options.text("host", host)
        self._expect_status = _read_statuses(expect_status)
        self._expect_body = options.pattern("expect_body", expect_body)
        self._shown_pattern = repr(expect_body)
        if not re.fullmatch(r"[A-Z]+", method) or method == "CONNECT":
            raise ValueError(f"method: must be one like 'GET', 'HEAD' or 'OPTIONS', not {method!r}")
        if not re.fullmatch(r"/[!-~]*|\*", path):
            raise ValueError(f"path: must begin with '/' and hold no spaces or bare non-ASCII, not {path!r}")
        if not re.fullmatch(r"[!-~]*", host):
            raise ValueError(f"host: must hold no spaces or non-ASCII, not {host!r}")
        if not isinstance(reuse, bool):
            raise ValueError(f"reuse: must be true or false, not {reuse!r}")  # noqa: TRY004 - options raise ValueError
        self._reuse = reuse
        lines = {"user-agent": "User-Agent: trio-lb", "accept": "Accept: */*"} | _read_headers(headers or {})
        if not reuse:
            lines["connection"] = "Connection: close"
        if method in _WITH_BODY:
            lines["content-length"] = "Content-Length: 0"
        self._headers = "".join(f"{line}\r\n" for line in lines.values()).encode()

    def talk(self, conversation: Conversation) -> Script:
        conversation.send(self._request(conversation.target))
        head = yield from read_head(conversation, bodiless=self._method == b"HEAD")
        if not any(head.status in expected for expected in self._expect_status):
            raise ProbeFailed(f"HTTP {head.status}")
        if self._expect_body is not None or self._reuse:
            body, reusable = yield from read_body(conversation, head, self._matches)
            if not self._matches(body):
                raise ProbeFailed(f"HTTP {head.status}, the body does not match {self._shown_pattern}")
            conversation.keeps = self._reuse and reusable
        return f"HTTP {head.status}"

    def _matches(self, body: bytes | bytearray) -> bool:
        return self._expect_body is None or self._expect_body.end_in(body) is not None

    def _request(self, target: Target) -> bytes:
        host = self._host or _host_header(target)
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (self._method, self._path, host.encode(), self._headers)


def _host_header(target: Target) -> str:
    """Return the Host header that a browser sends: the address, without the port if that is 80."""
    address = target.address
    if address.is_unix:
        return "localhost"
    return address.text.removesuffix(":80") if address.port == 80 else address.text


def _read_headers(value: object) -> dict[str, str]:
    """Read the option ``headers``: lines by name in lower case. Messages never show a value."""
    lines: dict[str, str] = {}
    for name, text in options.table("headers", value).items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"headers: {name!r} is not a name of a header")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"headers: {name} is set by the probe{_OWN_HEADERS[name.lower()]}")
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"headers: {name} must be a string of ASCII characters without control characters")
        if name.lower() in lines:
            raise ValueError(f"headers: {name} is given twice")
        lines[name.lower()] = f"{name}: {text}"
    return lines


def _read_statuses(value: object) -> tuple[range, ...]:
    items = value if value and isinstance(value, list | tuple) else str(value).split(",")
    return tuple(_read_range(str(item).strip()) for item in items)


def _read_range(item: str) -> range:
    match = _STATUS_OR_RANGE.fullmatch(item)
    if not match or (match[2] and match[2] < match[1]):
        raise ValueError(f"expect_status: must be statuses and ranges like '200-299,404', not {item!r}")
    return range(int(match[1]), int(match[2] or match[1]) + 1)
