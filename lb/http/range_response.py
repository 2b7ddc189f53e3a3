"""The response to a request for ranges of a body, wherever that comes from: 416, one part, or several."""

from __future__ import annotations

import os
from collections.abc import Callable

from lb.http.file_flow import BodyPart
from lb.http.steps import ExchangeView
from lb.http1.ranges import ByteRange, content_range, multipart, unsatisfied
from lb.model.request import HeaderFields

__all__ = ["respond_with_ranges"]

BOUNDARY = 16
"""Random bytes of the line between the parts of a body."""


def respond_with_ranges(
    exchange: ExchangeView,
    ranges: tuple[ByteRange, ...],
    size: int,
    fields: HeaderFields,
    part: Callable[[ByteRange], BodyPart],
) -> None:
    """Answer with these ranges of a body of ``size`` bytes, whose response has ``fields``. No ranges: none is there.

    ``part`` returns the bytes of a range.
    """
    if not ranges:
        exchange.fail(416, "ok", ((b"Content-Range", unsatisfied(size)),))
    elif len(ranges) == 1:
        field = (b"Content-Range", content_range(ranges[0], size))
        exchange.respond(206, (*fields, field), (part(ranges[0]),))
    else:
        media_type = next((value for name, value in fields if name.lower() == b"content-type"), b"")
        parts = multipart(ranges, size, media_type, os.urandom(BOUNDARY).hex().encode())
        kept = [field for field in fields if field[0].lower() != b"content-type"]
        body = [piece for head, each in zip(parts.heads, ranges, strict=True) for piece in (head, part(each))]
        exchange.respond(206, [(b"Content-Type", parts.content_type), *kept], (*body, parts.end))
