"""Reads the answer to an HTTP/1 request: the head, and the body as far as there is one.

Servers of checks are often scripts of a few lines, so this is lenient. HAProxy accepts the same: empty lines before the
status line, lines that end without a carriage return, a Content-Length that is wrong. Regular expressions here never go
back over what they have matched.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from healthcheck.conversation import Conversation, Steps, TimedOut, quoted
from healthcheck.probe import ProbeFailed

__all__ = ["MOST_BODY", "Head", "read_body", "read_head"]

MOST_BODY = 65_536
"""Bytes of a body that are read."""
_MOST_CHUNKS = 1024  # of a chunked body that are read, and lines after it; an estimate, 3 ms of work
_MOST_INFORMATIONAL = 16  # answers before the final one (status 1xx); servers send one or two

_START = b"HTTP/"
_EMPTY_LINES = re.compile(rb"[\r\n]*+")
_END = re.compile(rb"\n\r?\n")
_LONGEST_END = 3
_HEAD = re.compile(
    rb"HTTP/[0-9]\.([0-9]) ++([0-9]{3})(?:[ \r][^\n]*+)?\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[^\n]*+\n|[ \t][^\n]*+\n)*+)"
)
_LENGTH = re.compile(rb"^content-length:[ \t]*+([0-9]{1,9})[ \t]*+\r?$", re.MULTILINE)
_CODED = re.compile(rb"^transfer-encoding:[^\n]*chunked", re.MULTILINE)
_CLOSES = re.compile(rb"^connection:[^\n]*close", re.MULTILINE)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*+(?:;.*)?", re.DOTALL)
_SWITCHING, _OK, _NO_CONTENT, _NOT_MODIFIED = 101, 200, 204, 304


@attrs.frozen
class Head:
    """The head of an answer."""

    status: int
    length: int | None
    """Bytes of the body; None if only the end of the connection, or of the chunks, ends it."""
    chunked: bool
    may_keep: bool
    """The connection may serve another request once the body has been read."""


def read_head(conversation: Conversation, *, bodiless: bool) -> Steps[Head]:
    """Read the head of the final answer. ``bodiless``: the request was one whose answer has no body (HEAD)."""
    for _ in range(_MOST_INFORMATIONAL):
        head = _parse((yield from _head_bytes(conversation)), bodiless=bodiless)
        if head.status >= _OK or head.status == _SWITCHING:
            return head
    raise ProbeFailed(f"more than {_MOST_INFORMATIONAL} answers before the final one")


def _head_bytes(conversation: Conversation) -> Steps[bytes]:
    unread = conversation.unread
    searched = 0
    while True:
        if not searched and (empty := _EMPTY_LINES.match(unread)):
            del unread[: empty.end()]
        if unread and not unread.startswith(_START[: len(unread)]):
            raise ProbeFailed(f"not an HTTP answer: {quoted(unread)}")
        if end := _END.search(unread, searched):
            return conversation.take(end.end())
        searched = max(0, len(unread) - _LONGEST_END)
        if not (yield from conversation.more(required=False)):
            raise ProbeFailed("closed the connection before its answer was complete")


def _parse(head: bytes, *, bodiless: bool) -> Head:
    match = _HEAD.match(head)
    rest = head[match.end() if match else 0 :]
    if match is None or rest.strip():
        raise ProbeFailed(f"not an HTTP answer: {quoted(rest)}")
    headers = match[3].lower()
    status = int(match[2])
    may_keep = match[1] != b"0" and not _CLOSES.search(headers)
    if bodiless or status in (_NO_CONTENT, _NOT_MODIFIED):
        return Head(status, 0, chunked=False, may_keep=may_keep)
    if _CODED.search(headers):
        return Head(status, None, chunked=True, may_keep=may_keep)
    length = _LENGTH.search(headers)
    return Head(status, int(length[1]) if length else None, chunked=False, may_keep=may_keep and length is not None)


def read_body(conversation: Conversation, head: Head, enough: Callable[[bytearray], bool]) -> Steps[tuple[bytes, bool]]:
    """Read up to 64 KiB of the body. Return it, and whether the connection is ready for another request.

    Of a body that ends too early, is invalid or does not come in time, return what has arrived. ``enough(body)`` ends
    the reading of a body that only the end of the connection ends.
    """
    body = bytearray()
    try:
        if head.chunked:
            whole = yield from _read_chunks(conversation, body)
        else:
            whole = yield from _await_plain(conversation, head.length, enough)
    except (TimedOut, OSError, ProbeFailed):
        whole = False
    if not (head.chunked and whole):
        body += conversation.take(MOST_BODY if head.length is None else head.length)
    return bytes(body[:MOST_BODY]), whole and head.may_keep and not conversation.unread


def _await_plain(conversation: Conversation, length: int | None, enough: Callable[[bytearray], bool]) -> Steps[bool]:
    """Wait for a body that is not in chunks. Return True if it is there completely."""
    unread = conversation.unread
    most = MOST_BODY if length is None else min(length, MOST_BODY)
    while len(unread) < most and not (length is None and enough(unread)):
        if not (yield from conversation.more(required=False)):
            return length is None
    return length == most


def _read_chunks(conversation: Conversation, body: bytearray) -> Steps[bool]:
    """Read a body in chunks into ``body``. Return True if it has been read to its end."""
    for _ in range(_MOST_CHUNKS):
        size = _CHUNK_SIZE.fullmatch((yield from conversation.line()))
        if size is None or len(body) >= MOST_BODY:
            return False
        if not (count := int(size[1], 16)):
            break
        body += yield from conversation.exactly(count)
        yield from conversation.line()
    for _ in range(_MOST_CHUNKS):
        if not (yield from conversation.line()):
            return True
    return False
