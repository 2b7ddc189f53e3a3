"""Requests answered with files of a directory."""

from __future__ import annotations

import errno
import time
from functools import partial
from urllib.parse import quote_from_bytes

from lb.events import RequestReason
from lb.http.open_files import Directory, FoundFile, Representation
from lb.http.range_response import respond_with_ranges
from lb.http.steps import ExchangeView
from lb.http1.accept import best_coding
from lb.http1.conditions import precondition
from lb.http1.field import CONDITION
from lb.http1.ranges import requested_ranges

__all__ = ["FilesTarget"]

_METHODS = (b"GET", b"HEAD")
_ALLOW = ((b"Allow", b"GET, HEAD"),)
_WELL_KNOWN = b".well-known"
"""RFC 8615: the only name with a dot at its begin that is meant to be served."""
_PATH_BYTES = "/:@!$&'()*+,;=~"
"""What need not be escaped in a path: RFC 3986, section 3.3."""
_BUSY = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBUSY, errno.EAGAIN))
_DENIED = frozenset((errno.EACCES, errno.EPERM))
_BROKEN = frozenset((errno.EIO, errno.ESTALE))


class FilesTarget:
    """Answers requests with what their paths lead to below a directory. Implements Target.

    ``strip_prefix`` is taken off a path, then ``add_prefix`` is put before it.
    """

    def __init__(self, directory: Directory, strip_prefix: str = "", add_prefix: str = "") -> None:
        self._directory = directory
        self._strip = strip_prefix.rstrip("/").encode()
        self._add = add_prefix.rstrip("/").encode()

    def begin(self, exchange: ExchangeView) -> None:
        head = exchange.head
        if head.method not in _METHODS:
            exchange.fail(405, "ok", _ALLOW)
            return
        path = self._path(head.path)
        found = self._directory.find(path)
        if found is not None:
            _answer(exchange, found)
        elif _is_hidden(path):
            exchange.fail(404, "ok")
        else:
            self._directory.open(path, partial(_answer_if_open, exchange))

    def _path(self, path: bytes) -> bytes:
        """Return the path below the directory; it ends with a slash, or is empty, for an index."""
        strip = self._strip
        if strip and path.startswith(strip) and path[len(strip) : len(strip) + 1] in (b"", b"/"):
            path = path[len(strip) :]
        return (self._add + path)[1:]


def _is_hidden(path: bytes) -> bool:
    return (path.startswith(b".") and path.partition(b"/")[0] != _WELL_KNOWN) or b"/." in path


def _answer_if_open(exchange: ExchangeView, result: FoundFile | OSError) -> None:
    if exchange.ended:
        return
    if isinstance(result, OSError):
        exchange.fail(*_failure(result))
    else:
        _answer(exchange, result)


def _failure(error: OSError) -> tuple[int, RequestReason]:
    if error.errno in _DENIED:
        return 403, "denied"
    if error.errno in _BUSY:
        return 503, "no_server"
    return (500, "no_server") if error.errno in _BROKEN else (404, "ok")


def _answer(exchange: ExchangeView, found: FoundFile) -> None:
    head = exchange.head
    choices = found.representations
    if not choices:
        _redirect(exchange)
        return
    coding: bytes | None = b""
    if len(choices) > 1:
        accepted = b",".join(head.block.get_all(b"accept-encoding"))
        coding = best_coding(accepted, [each for each in choices if each])
    it = choices[coding or b""]
    if head.block.meanings & CONDITION:
        _answer_conditionally(exchange, it)
    else:
        exchange.respond(200, it.fields, it.body())


def _redirect(exchange: ExchangeView) -> None:
    """To the path with a slash at its end: links in an index are relative to it.

    The location is made from the path as it was understood: one that begins with two slashes would name a host.
    """
    head = exchange.head
    _, mark, query = head.target.partition(b"?")
    location = quote_from_bytes(head.path + b"/", _PATH_BYTES).encode() + mark + query
    exchange.respond(301, ((b"Location", location),))


def _answer_conditionally(exchange: ExchangeView, it: Representation) -> None:
    head, now = exchange.head, time.time()
    status = precondition(head.method, head.block, it.validators, now)
    if status == 304:
        exchange.respond(304, it.unmodified_fields)
    elif status == 412:
        exchange.fail(412, "ok")
    else:
        ranges = requested_ranges(head.method, head.block, it.validators, it.size, now)
        if ranges is None:
            exchange.respond(200, it.fields, it.body())
        else:
            respond_with_ranges(exchange, ranges, it.size, it.fields, lambda each: it.part(*each))
