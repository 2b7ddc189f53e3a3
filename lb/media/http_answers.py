"""A response as the client gets it: without a body if it has that already, or a part of a file if it asks for one."""

from __future__ import annotations

from lb.http1.conditions import Validators, precondition
from lb.http1.ranges import content_range, requested_ranges, unsatisfied
from lb.http1.request_head import RequestHead
from lb.media.http_server import FileBody, HttpResponse
from lb.media.responses import MediaFile, MediaResponse
from lb.model.http_dates import http_date

__all__ = ["http_answer"]

_NANO = 10**9


def http_answer(head: RequestHead, response: MediaResponse, now: float) -> HttpResponse:
    """Return what answers a GET or HEAD. ``now`` is the time in seconds since 1970."""
    fields = tuple(response.headers())
    file = response.file
    current = Validators(response.etag.encode() or None, None if file is None else _modified(file, now))
    if file is not None:
        fields = (*fields, ("Last-Modified", http_date(_modified(file, now)).decode()), ("Accept-Ranges", "bytes"))
    if response.etag and (status := precondition(head.method, head.block, current, now)) is not None:
        return HttpResponse(status, fields)
    if file is None:
        return HttpResponse(response.status, fields, b"".join(response.body))
    return _of_file(head, fields, current, file, now)


def _modified(file: MediaFile, now: float) -> int:
    """Return when a file was last modified, in seconds since 1970: not in the future, by RFC 9110, section 8.8.2.1."""
    return min(file.modified_ns // _NANO, int(now))


def _of_file(
    head: RequestHead, fields: tuple[tuple[str, str], ...], current: Validators, file: MediaFile, now: float
) -> HttpResponse:
    ranges = requested_ranges(head.method, head.block, current, file.size, now)
    if ranges is None or len(ranges) > 1:  # a server may ignore Range
        return HttpResponse(200, fields, FileBody(file, 0, file.size))
    if not ranges:
        return HttpResponse(416, (*fields, ("Content-Range", unsatisfied(file.size).decode())))
    (part,) = ranges
    told = ("Content-Range", content_range(part, file.size).decode())
    return HttpResponse(206, (*fields, told), FileBody(file, part.offset, part.length))
