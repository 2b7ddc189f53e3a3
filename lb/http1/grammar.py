"""The character sets and small rules that heads, trailers and chunks share."""

from __future__ import annotations

import ipaddress
import re

__all__ = [
    "MAX_DIGITS",
    "MAX_FIELDS",
    "TOKEN_BYTES",
    "VALUE_BYTES",
    "MalformedError",
    "is_host",
    "number",
]

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""RFC 9110, section 5.6.2."""
VALUE_BYTES = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
"""A field value has no control character but the tab: RFC 9110, section 5.5."""
MAX_DIGITS = 15
"""Digits of a Content-Length, and hexadecimal digits of a chunk size. More is no size of a real body."""
MAX_FIELDS = 100
"""Field lines of a head, and of trailers. The objects of a line are much larger than a short line."""

_DIGITS = re.compile(rb"[0-9]{1,%d}" % MAX_DIGITS)
_HOST = re.compile(
    rb"(?:\[(?P<ip>[0-9A-Fa-f:.]{2,45})\]|%(label)s(?:\.%(label)s)*\.?)(?::(?P<port>[0-9]{0,5}))?"
    % {b"label": rb"(?:[0-9A-Za-z\-_~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+"}
)
_MAX_PORT = 65535


class MalformedError(ValueError):
    """A message that is not valid, or that could be read in more than one way. ``status`` answers a request."""

    def __init__(self, problem: str, status: int = 400) -> None:
        super().__init__(problem)
        self.status = status


def number(digits: bytes) -> int:
    """Return the value of a Content-Length. Raises MalformedError."""
    if _DIGITS.fullmatch(digits) is None:
        raise MalformedError("Content-Length is not a number")
    return int(digits)


def is_host(value: bytes) -> bool:
    """Return True for ``uri-host [":" port]`` (RFC 3986, section 3.2) that is not empty and has no empty label."""
    match = _HOST.fullmatch(value)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        return False
    return match["ip"] is None or _is_ipv6(match["ip"].decode("ascii"))


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
