"""The head of a request as its server gets it: written anew from what was read."""

from __future__ import annotations

from lb.http.carrier import ExchangeToServe
from lb.http1.request_head import RequestHead
from lb.http1.wire import CHUNKED, VIA, length_line

__all__ = ["request_image"]


def request_image(exchange: ExchangeToServe, *, passes_expect: bool) -> bytes:
    """Return the head of a request as the server gets it."""
    head = exchange.head
    more = b""
    if head.upgrade:
        more = b"Connection: upgrade\r\nUpgrade: %s\r\n" % head.upgrade
    if passes_expect and exchange.expects_continue:
        more += b"Expect: 100-continue\r\n"
    return b"%s%s%s\r\n%s\r\n" % (
        _image(head),
        exchange.carrier.forwarded_lines(head),
        exchange.id.encode(),
        more,
    )


def _image(head: RequestHead) -> bytes:
    """Return the part of a request's head for servers that is the same for all clients. The rest follows it."""
    found: bytes | None = head.__dict__.get("image")
    if found is None:
        found = head.__dict__["image"] = _make_image(head)
    return found


def _make_image(head: RequestHead) -> bytes:
    block = head.block
    framing = CHUNKED if block.chunked else b"" if block.length is None else length_line(block.length)
    cookie = b"" if head.cookie is None else b"Cookie: %s\r\n" % head.cookie
    host = head.host
    return b"%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s%sX-Forwarded-Host: %s\r\n" % (
        head.method,
        head.target,
        host,
        block.lines_not_forwarded,
        cookie,
        framing,
        VIA,
        host,
    )
