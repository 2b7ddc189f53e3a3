"""The http probe: one request; checks the status and optionally the body of the response. HTTP/1.1 by h11."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import h11

from healthcheck.conversation import Conversation, Script, Steps
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import ProbeFailed, Target
from healthcheck.probes import options

__all__ = ["HttpProbe"]

_MOST_BODY = 65_536  # bytes of the body that are read and searched
_WITH_BODY = ("POST", "PUT", "PATCH")  # methods whose requests need Content-Length: 0 for an empty body (RFC 9110, 8.6)
_STATUS_OR_RANGE = re.compile(r"([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?")
_Answer: TypeAlias = tuple[int, bytes, bool]
"""The status, the body, and whether the connection can be used again."""

_TEXT = rb"[\t !-~\x80-\xff]*"
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([2-5][0-9]{2})(?: %b)?\r\n((?:[!#$%%&'*+.^_`|~0-9A-Za-z-]+:%b\r\n)*)\r\n" % (_TEXT, _TEXT)
)
_LENGTH = re.compile(rb"^content-length:[ \t]*(.*?)[ \t]*\r$", re.MULTILINE)
_NUMBER = re.compile(rb"[0-9]{1,9}")
_CODED = re.compile(rb"^transfer-encoding:", re.MULTILINE)
_CLOSES = re.compile(rb"^connection:.*close", re.MULTILINE)
_BODILESS = (204, 304)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
_OWN_HEADERS = {"host": "; use the option 'host'", "connection": "", "content-length": "", "transfer-encoding": ""}


class HttpProbe(ConversationProbe):
    """Request ``path`` with ``method`` and check the response.

    ``host`` is the Host header, by default the checked address. ``headers`` are more headers, by name.
    ``expect_status`` is a comma-separated string of status codes and ranges (``"200-299,404"``), or a list of them.
    ``expect_body`` is a regular expression for the first 64 KiB of the body, as bytes. ``reuse`` keeps one connection
    to each server for all checks.
    """

    secrets = ("headers",)  # may contain a login

    def __init__(
        self,
        method: str = "GET",
        path: str = "/",
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
        yield from conversation.more(required=False)
        answer = _read_plain(conversation.unread, self._method)
        if answer is None:
            answer = yield from self._read_any(conversation)
        status, body, conversation.keeps = answer
        conversation.keeps &= self._reuse
        self._judge(status, body)
        return f"HTTP {status}"

    def _request(self, target: Target) -> bytes:
        host = self._host or _host_header(target)
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (self._method, self._path, host.encode(), self._headers)

    def _read_any(self, conversation: Conversation) -> Steps[_Answer]:
        """Read an answer of any form."""
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method=self._method, target=self._path, headers=[("Host", "")]))
        http.send(h11.EndOfMessage())
        try:
            return (yield from _read_by_h11(http, conversation))
        except h11.RemoteProtocolError as error:
            if http.trailing_data[1]:
                raise ProbeFailed("closed the connection before its answer was complete") from error
            raise ProbeFailed(f"not an HTTP answer: {error}") from error

    def _judge(self, status: int, body: bytes) -> None:
        if not any(status in expected for expected in self._expect_status):
            raise ProbeFailed(f"HTTP {status}")
        if not self._expect_body.search(body):
            raise ProbeFailed(f"HTTP {status}, the body does not match {self._expect_body.pattern.decode()!r}")


def _read_plain(received: bytes | bytearray, method: bytes) -> _Answer | None:
    """Read an answer of the most common form: complete, in one piece, with Content-Length or without a body.

    Returns None for all others, right or wrong: h11 reads them, and takes twenty times as long.
    """
    head = _PLAIN_HEAD.match(received)
    if head is None:
        return None
    headers = head[3].lower()
    lengths = _LENGTH.findall(headers)
    if len(lengths) != 1 or not _NUMBER.fullmatch(lengths[0]) or _CODED.search(headers):
        return None
    status = int(head[2])
    length = 0 if method == b"HEAD" or status in _BODILESS else int(lengths[0])
    body = bytes(received[head.end() :])
    if not length <= len(body) or length > _MOST_BODY:
        return None
    keeps = head[1] == b"1" and len(body) == length and not _CLOSES.search(headers)
    return status, body[:length], keeps


def _read_by_h11(http: h11.Connection, conversation: Conversation) -> Steps[_Answer]:
    """Read the final status and 64 KiB of the body. Raises h11.RemoteProtocolError for an invalid response."""
    status, body = 0, bytearray()
    http.receive_data(bytes(conversation.unread))
    while len(body) < _MOST_BODY:
        event = http.next_event()
        if event is h11.NEED_DATA:
            conversation.unread.clear()
            yield from conversation.more(required=False)
            http.receive_data(bytes(conversation.unread))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
    keeps = http.our_state is http.their_state is h11.DONE and not http.trailing_data[0]
    return status, bytes(body[:_MOST_BODY]), keeps


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
