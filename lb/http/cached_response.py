"""The response to one request from what the cache has: all of it, a part, or that it has not changed."""

from __future__ import annotations

import attrs

from lb.cache.content import Content
from lb.cache.entry import CacheEntry
from lb.http.carrier import ExchangeToServe
from lb.http.content_part import ContentPart
from lb.http.file_flow import BodyPart
from lb.http.range_response import respond_with_ranges
from lb.http.sent_fields import LastFields, sent_fields
from lb.http.slices import Slices
from lb.http1.conditions import Validators, is_unmodified
from lb.http1.field import CONDITION
from lb.http1.ranges import ByteRange, requested_ranges
from lb.model.http_dates import parse_date
from lb.model.request import HeaderFields

__all__ = ["respond_from"]

_OF_304 = frozenset((b"cache-control", b"content-location", b"date", b"etag", b"expires", b"last-modified", b"vary"))
"""Fields of the stored response that a 304 has: RFC 9110, section 15.4.5."""


def respond_from(
    exchange: ExchangeToServe,
    entry: CacheEntry,
    added: HeaderFields,
    now: float,
    slices: Slices | None = None,
    *,
    last: LastFields,
) -> None:
    """Answer a request from an entry, whose body may still be coming. ``added`` are further fields.

    ``slices`` has the others if the entry is a slice. ``last`` are the fields of the response before.
    """
    head = exchange.head
    fields = last.of(entry, added, now)
    if head.block.meanings & CONDITION and 200 <= entry.status < 300:
        validators = _validators_of(entry, now)
        if is_unmodified(head.block, validators, now):
            exchange.respond(304, sent_fields(entry, added, now, only=_OF_304))
            return
        size = _size(entry)
        if entry.status == 200 and size is not None:
            ranges = requested_ranges(head.method, head.block, validators, size, now)
            if ranges is not None and not (len(ranges) > 1 and _comes(entry)):
                source = _Source(_body(exchange, entry), slices)
                respond_with_ranges(exchange, ranges, size, fields, source.part)
                return
    if slices is not None:
        exchange.respond(entry.status, fields, (slices.part(0, _size(entry) or 0),))
    else:
        exchange.respond(entry.status, fields, _whole(_body(exchange, entry)))


def _comes(entry: CacheEntry) -> bool:
    """Return True if the body is not complete. Several ranges would wait for each other where little of it is kept."""
    return isinstance(entry.body, Content) and not entry.body.complete


@attrs.frozen
class _Source:
    """What parts are taken from."""

    body: bytes | Content
    slices: Slices | None

    def part(self, wanted: ByteRange) -> BodyPart:
        body = self.body
        if self.slices is not None:
            return self.slices.part(*wanted)
        if isinstance(body, bytes):
            return body[wanted.offset : wanted.offset + wanted.length]
        return ContentPart(body, *wanted)


def _size(entry: CacheEntry) -> int | None:
    return entry.length if entry.part is None else entry.part.total


def _validators_of(entry: CacheEntry, now: float) -> Validators:
    names = (b"etag", b"last-modified", b"date")
    values = {name.lower(): value for name, value in entry.fields if name.lower() in names}
    modified = values.get(b"last-modified", values.get(b"date"))  # RFC 9111, section 4.3.2
    return Validators(values.get(b"etag"), parse_date(modified, now) if modified is not None else None)


def _body(exchange: ExchangeToServe, entry: CacheEntry) -> bytes | Content:
    """Return the body. Bytes would be sent at once: with a limit of bandwidth, they are a content, which has a pace."""
    body = entry.body
    return Content.of(body) if isinstance(body, bytes) and exchange.is_limited else body


def _whole(body: bytes | Content) -> bytes | tuple[BodyPart]:
    return body if isinstance(body, bytes) else (ContentPart(body),)
