"""The heads of responses as HTTP/2 has them: header blocks, which any connection may send."""

from __future__ import annotations

import functools
import time

from lb.http.header_edits import FieldChange
from lb.http1.response_head import ResponseHead
from lb.http1.wire import WrittenFields, has_date
from lb.http2.hpack_writer import encode_fields, encode_status
from lb.model.http_dates import http_date
from lb.model.request import HeaderFields

__all__ = ["AS_BLOCK", "length_block", "own_block", "response_block"]

AS_BLOCK = b"block"
"""Names blocks among the images of a response's head."""
_VIA = (b"via", b"1.1 trio-lb")


def length_block(length: int) -> bytes:
    """Return the Content-Length of a body."""
    return encode_fields(((b"content-length", b"%d" % length),))


def response_block(
    head: ResponseHead, length: bytes, change: FieldChange | None = None, *, status: int | None = None
) -> bytes:
    """Return the block of a server's response. ``length`` is of :func:`length_block`, or empty.

    ``status``: another one than the server's.
    """
    fields = [(field.written_name, field.value) for field in head.block.end_to_end()]
    if change is not None:
        fields = change.apply(fields)
    return encode_status(status or head.status) + encode_fields((*fields, _VIA)) + length


def own_block(status: int, fields: HeaderFields, length: bytes) -> bytes:
    """Return the block of a response of the balancer itself, with its date unless the cache has one."""
    return b"%s%s%s" % (_first(status, int(time.time()), has_date=has_date(fields)), _encoded(fields), length)


@functools.lru_cache(maxsize=64)
def _first(status: int, now: int, *, has_date: bool) -> bytes:
    """Return the status, and the date. Many responses of a second share them."""
    return encode_status(status) + (b"" if has_date else encode_fields(((b"date", http_date(now)),)))


def _encoded(fields: HeaderFields) -> bytes:
    """Return the block of fields. That of fields that are sent many times is kept with them."""
    if not isinstance(fields, WrittenFields):
        return encode_fields(fields)
    block: bytes | None = fields.__dict__.get("block")
    if block is None:
        block = fields.__dict__["block"] = encode_fields(fields)
    return block
