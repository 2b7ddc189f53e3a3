"""The character sets and small rules that heads, trailers and chunks share."""

from __future__ import annotations

import re

__all__ = ["MAX_DIGITS", "TOKEN_BYTES", "VALUE_BYTES", "MalformedError", "is_host", "number", "splits_lines_badly"]

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""RFC 9110, section 5.6.2."""
VALUE_BYTES = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
"""A field value has no control character but the tab: RFC 9110, section 5.5."""
MAX_DIGITS = 15
"""Digits of a Content-Length, and hexadecimal digits of a chunk size. More is no size of a real body."""

_DIGITS = re.compile(rb"[0-9]{1,%d}" % MAX_DIGITS)
_HOST = re.compile(
    rb"(?:\[(?:[0-9A-Fa-f:.]{2,45}|v[0-9A-Fa-f]+\.[0-9A-Za-z\-._~!$&'()*+,;=:]+)\]"
    rb"|(?:[0-9A-Za-z\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)"
    rb"(?::[0-9]{0,5})?"
)


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
    """Return True for ``uri-host [":" port]`` (RFC 3986, section 3.2) that is not empty."""
    return _HOST.fullmatch(value) is not None


def splits_lines_badly(data: bytes | bytearray) -> bool:
    """Return True if a line ends without a carriage return."""
    return data.count(b"\n") != data.count(b"\r\n")
