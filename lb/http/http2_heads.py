"""The head of a request of HTTP/2, as all else sees it: it is read as one of HTTP/1 is, once for all that have it."""

from __future__ import annotations

import base64
import secrets

from lb.http1.grammar import MalformedError
from lb.http1.request_head import RequestHead, RequestHeads
from lb.http2.field_section import FieldSection

__all__ = ["HTTP2_VERSIONS", "read_request_head"]

HTTP2_VERSIONS = {b"HTTP/2": 2}
_WEBSOCKET = b"websocket"
_KEY_BYTES = 16
"""Of Sec-WebSocket-Key: RFC 6455, section 4.1."""


def read_request_head(section: FieldSection, heads: RequestHeads, *, ended: bool) -> RequestHead:
    """Return the head of a request. ``ended``: no body follows. ``heads`` are those of :data:`HTTP2_VERSIONS`.

    A body whose length is not told has the head of one in chunks: as such it goes to servers of HTTP/1.
    Raises MalformedError.
    """
    if section.protocol:
        return heads.read(_upgrade(section))
    if not ended:
        return section.kept_with_body or _keep_with_body(section, heads)
    head = section.kept
    if not isinstance(head, RequestHead):
        head = section.kept = heads.read(_image(section.method, section, b""))
    return head


def _keep_with_body(section: FieldSection, heads: RequestHeads) -> RequestHead:
    framing = b"" if section.length >= 0 else b"Transfer-Encoding: chunked\r\n"
    head = section.kept_with_body = heads.read(_image(section.method, section, framing))
    return head


def _image(method: bytes, section: FieldSection, more: bytes) -> bytes:
    """Return a head of HTTP/1. Names and values have no line ends: the section is valid."""
    host = b"Host: %s\r\n" % section.authority if section.authority else b""
    lines = b"".join([b"%s: %s\r\n" % field for field in section.fields])
    return b"%s %s HTTP/2\r\n%s%s%s\r\n" % (method, section.path or section.authority, host, lines, more)


def _upgrade(section: FieldSection) -> bytes:
    """Return the head of a request for another protocol, as HTTP/1.1 has it: RFC 8441, section 5.

    Raises MalformedError for other protocols than WebSocket.
    """
    if section.protocol.lower() != _WEBSOCKET:
        raise MalformedError("a protocol that is not known", 501)
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES))
    more = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: %s\r\n" % key
    return _image(b"GET", section, more)
