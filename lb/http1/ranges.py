"""Ranges of bytes (RFC 9110, section 14): what a request asks for, and how parts are answered.

A server may ignore Range. It is ignored here where many ranges would make the response larger than the whole, or cost
more than it (CVE-2011-3192): more than 16 ranges, or ranges with more bytes than the representation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import attrs

from lb.http1.conditions import Validators, may_use_range
from lb.http1.field import CONDITION
from lb.http1.field_block import FieldBlock

__all__ = [
    "ByteRange",
    "Multipart",
    "content_range",
    "first_byte",
    "multipart",
    "parse_content_range",
    "parse_range",
    "requested_ranges",
    "unsatisfied",
]

MAX_RANGES = 16
_UNIT = re.compile(rb"(?i:bytes)=")
_RANGE = re.compile(rb"([0-9]{0,20})-([0-9]{0,20})")
"""A number of more digits is no size of anything."""
_CONTENT_RANGE = re.compile(rb"(?i:bytes) ([0-9]{1,20})-([0-9]{1,20})/([0-9]{1,20})")


class ByteRange(NamedTuple):
    """``length`` bytes from ``offset``; at least one."""

    offset: int
    length: int


def requested_ranges(
    method: bytes, block: FieldBlock, current: Validators, size: int, now: float
) -> tuple[ByteRange, ...] | None:
    """Return the ranges of a representation of ``size`` bytes that the request gets; None: the whole.

    No ranges means that none can be satisfied: 416. Call it after the preconditions.
    """
    if not block.meanings & CONDITION or method != b"GET":
        return None
    values = block.conditions.get(b"range")
    if not values or len(values) > 1 or not may_use_range(block, current, now):
        return None
    return parse_range(values[0], size)


def parse_range(value: bytes, size: int) -> tuple[ByteRange, ...] | None:
    """Return the ranges of a Range field, in its order; None if it is to be ignored, none if none can be satisfied.

    It is ignored where there are no bytes: some clients send it with each request, to bound the response.
    """
    unit = _UNIT.match(value)
    if unit is None or not size:
        return None
    texts = [text for text in (text.strip(b" \t") for text in value[unit.end() :].split(b",")) if text]
    if not texts or len(texts) > MAX_RANGES:
        return None
    found = []
    for text in texts:
        match = _RANGE.fullmatch(text)
        if match is None or text == b"-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
            return None
        found.append(_range(match[1], match[2], size))
    ranges = tuple(each for each in found if each.length > 0)
    return None if sum(each.length for each in ranges) > size else ranges


def first_byte(value: bytes) -> int | None:
    """Return the offset at which a Range field begins, if it asks for one range and says that; else None."""
    unit = _UNIT.match(value)
    match = _RANGE.fullmatch(value[unit.end() :].strip(b" \t")) if unit is not None else None
    if match is None or not match[1] or (match[2] and int(match[2]) < int(match[1])):
        return None
    return int(match[1])


def parse_content_range(value: bytes) -> tuple[ByteRange, int] | None:
    """Return the part that a Content-Range names, and the bytes of the whole; None if it does not say both."""
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None:
        return None
    first, last, size = map(int, match.groups())
    return (ByteRange(first, last - first + 1), size) if first <= last < size else None


def _range(first: bytes, last: bytes, size: int) -> ByteRange:
    """Return one range, cut to the size; its length is not positive if it cannot be satisfied."""
    if not first:
        length = min(int(last), size)
        return ByteRange(size - length, length)
    offset = int(first)
    end = min(int(last) + 1, size) if last else size
    return ByteRange(offset, end - offset)


def content_range(part: ByteRange, size: int) -> bytes:
    """Return the value of Content-Range of a part."""
    return b"bytes %d-%d/%d" % (part.offset, part.offset + part.length - 1, size)


def unsatisfied(size: int) -> bytes:
    """Return the value of Content-Range of a 416."""
    return b"bytes */%d" % size


@attrs.frozen
class Multipart:
    """A body of several parts (section 14.6). ``heads`` has, for each range, what comes before its bytes."""

    content_type: bytes
    """The value of Content-Type of the response."""
    heads: tuple[bytes, ...]
    end: bytes


def multipart(ranges: Sequence[ByteRange], size: int, content_type: bytes, boundary: bytes) -> Multipart:
    """Return what stands around the bytes of several ranges. ``boundary`` must not be in them: draw it at random."""
    heads = tuple(
        b"%s--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n"
        % (b"\r\n" if number else b"", boundary, content_type, content_range(part, size))
        for number, part in enumerate(ranges)
    )
    return Multipart(b"multipart/byteranges; boundary=" + boundary, heads, b"\r\n--%s--\r\n" % boundary)
