"""The http probe: one request; checks the status and optionally the body of the response. HTTP/1.1 by h11."""

from __future__ import annotations

import re
from collections.abc import Sequence

import h11

from healthcheck.probe import Probe, ProbeFailed, Stream, Target, hang_up
from healthcheck.probes import options

__all__ = ["HttpProbe"]

_MOST_BODY = 65_536  # bytes of the body that are read and searched
_WITH_BODY = ("POST", "PUT", "PATCH")  # methods whose requests need Content-Length: 0 for an empty body (RFC 9110, 8.6)
_STATUS_OR_RANGE = re.compile(r"([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?")


class HttpProbe(Probe):
    """Request ``path`` with ``method`` and check the response.

    ``host`` is the Host header, by default the server's address. ``expect_status`` is a comma-separated string of
    status codes and ranges (``"200-299,404"``), or a list of them. ``expect_body`` is a regular expression for the
    first 64 KiB of the body, as bytes.
    """

    def __init__(
        self,
        method: str = "GET",
        path: str = "/",
        host: str = "",
        expect_status: str | int | Sequence[str | int] = "200-399",
        expect_body: str = "",
    ) -> None:
        self._method = options.text("method", method)
        self._path = options.text("path", path)
        self._host = options.text("host", host)
        self._expect_status = _read_statuses(expect_status)
        self._expect_body = options.pattern("expect_body", expect_body)
        if not re.fullmatch(r"[A-Z]+", method) or method == "CONNECT":
            raise ValueError(f"method: must be one like 'GET', 'HEAD' or 'OPTIONS', not {method!r}")
        if not re.fullmatch(r"/[!-~]*|\*", path):
            raise ValueError(f"path: must begin with '/' and hold no spaces or bare non-ASCII, not {path!r}")
        if not re.fullmatch(r"[!-~]*", host):
            raise ValueError(f"host: must hold no spaces or non-ASCII, not {host!r}")

    async def check(self, target: Target) -> str:
        async with await target.connect() as stream:
            http = h11.Connection(h11.CLIENT)
            await stream.send_all(self._request(http, target))
            try:
                status, body = await _read_answer(http, stream)
            except h11.RemoteProtocolError as error:
                if http.trailing_data[1]:
                    raise ProbeFailed("closed the connection before its answer was complete") from error
                raise ProbeFailed(f"not an HTTP answer: {error}") from error
            await hang_up(stream)
        self._judge(status, body)
        return f"HTTP {status}"

    def _request(self, http: h11.Connection, target: Target) -> bytes:
        headers = [
            ("Host", self._host or _host_header(target)),
            ("User-Agent", "trio-lb"),
            ("Accept", "*/*"),
            ("Connection", "close"),
        ]
        if self._method in _WITH_BODY:
            headers.append(("Content-Length", "0"))
        request = http.send(h11.Request(method=self._method, target=self._path, headers=headers))
        end = http.send(h11.EndOfMessage())
        return (request or b"") + (end or b"")

    def _judge(self, status: int, body: bytes) -> None:
        if not any(status in expected for expected in self._expect_status):
            raise ProbeFailed(f"HTTP {status}")
        if not self._expect_body.search(body):
            raise ProbeFailed(f"HTTP {status}, the body does not match {self._expect_body.pattern.decode()!r}")


async def _read_answer(http: h11.Connection, stream: Stream) -> tuple[int, bytes]:
    """Read the final status and 64 KiB of the body. Raises h11.RemoteProtocolError for an invalid response."""
    status, body = 0, bytearray()
    while len(body) < _MOST_BODY:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
    return status, bytes(body[:_MOST_BODY])


def _host_header(target: Target) -> str:
    """Return the Host header that a browser sends: the address, without the port if that is 80."""
    address = target.address
    if address.is_unix:
        return "localhost"
    return address.text.removesuffix(":80") if address.port == 80 else address.text


def _read_statuses(value: object) -> tuple[range, ...]:
    items = value if value and isinstance(value, list | tuple) else str(value).split(",")
    return tuple(_read_range(str(item).strip()) for item in items)


def _read_range(item: str) -> range:
    match = _STATUS_OR_RANGE.fullmatch(item)
    if not match or (match[2] and match[2] < match[1]):
        raise ValueError(f"expect_status: must be statuses and ranges like '200-299,404', not {item!r}")
    return range(int(match[1]), int(match[2] or match[1]) + 1)
