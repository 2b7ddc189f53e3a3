"""What a probe says and hears, without I/O: the bytes to send, and the received bytes that it reads message by message.

A probe's side of a conversation is a generator, its script. It yields when it needs more bytes from the server, and
returns or raises the verdict. Who runs it sends ``outgoing``, adds received bytes to ``unread``, and resumes it.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from typing import TypeAlias, TypeVar

from healthcheck.pattern import Pattern
from healthcheck.probe import Passed, ProbeFailed, Target, Word

__all__ = ["MOST_BYTES", "Conversation", "Script", "Steps", "TimedOut", "quoted"]

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""A part of a script: each yield waits for bytes."""
Script: TypeAlias = Steps[str | Passed | Word]
"""A whole script. Returns and raises what :meth:`healthcheck.probe.Probe.check` does.

At the timeout TimedOut is raised in it, and OSError if the connection breaks. It may raise a better reason in turn.
"""

MOST_BYTES = 65_536
"""Limit for one answer: more than any of these protocols needs. It bounds the memory if a server sends endlessly."""
_QUOTED = 60  # characters of an unexpected answer in the reason
_LONGEST_CHARACTER = 4  # bytes in UTF-8


class TimedOut(Exception):  # noqa: N818 - raised in scripts, a signal and no error
    """The time of the check is over."""


class Conversation:
    """The bytes of one check. The methods raise ProbeFailed if the server closes the connection too early."""

    __slots__ = ("closing_message", "ended", "keeps", "ms", "outgoing", "target", "tls", "unread")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.outgoing = b""
        """Bytes to send."""
        self.unread = bytearray()
        """Received bytes that are not consumed yet."""
        self.ended = False
        """The server has closed its side."""
        self.closing_message = b""
        """The protocol's message to end a session, sent before the connection is closed, unless the check timed out."""
        self.keeps = False
        """The connection may be kept for the next check, if this one passes."""
        self.ms = 0.0
        """Milliseconds from the start of the check to the latest bytes."""
        self.tls: ssl.SSLObject | None = None
        """The TLS session, if there is one."""

    def send(self, data: bytes) -> None:
        self.outgoing += data

    def more(self, *, required: bool = True) -> Steps[bool]:
        """Wait for more bytes. At the end of the stream, raises ProbeFailed if ``required``, else returns False."""
        if not self.ended:
            yield
        if self.ended and required:
            what = f"answer {quoted(self.unread)} does not match" if self.unread else "no answer"
            raise ProbeFailed(f"closed the connection, {what}")
        return not self.ended

    def until(self, pattern: Pattern) -> Steps[bytes]:
        """Read up to the end of the first match. Each received chunk starts a new search from the beginning."""
        while (end := pattern.end_in(self.unread)) is None:
            if len(self.unread) >= MOST_BYTES:
                raise ProbeFailed(f"the first {MOST_BYTES} bytes of the answer do not match")
            yield from self.more()
        return self.take(end)

    def line(self, *, or_end: bool = False) -> Steps[bytes]:
        """Read the next line, without its end; with ``or_end``, the end of the stream ends a line too."""
        searched = 0
        while (end := self.unread.find(b"\n", searched)) < 0:
            searched = len(self.unread)
            if searched >= MOST_BYTES:
                raise ProbeFailed(f"a line of more than {MOST_BYTES} bytes: {quoted(self.unread)}")
            if not (yield from self.more(required=not (or_end and self.unread))):
                return self.take(searched)
        return self.take(end + 1)[:end].removesuffix(b"\r")

    def exactly(self, count: int) -> Steps[bytes]:
        """Read exactly ``count`` bytes."""
        while len(self.unread) < count:
            yield from self.more()
        return self.take(count)

    def take(self, count: int) -> bytes:
        """Return the next bytes that have arrived, at most ``count``."""
        taken = bytes(self.unread[:count])
        del self.unread[:count]
        return taken


def quoted(answer: bytes | bytearray) -> str:
    """Quote the first line of an answer, with escapes for unprintable characters."""
    first = answer.strip()[: (_QUOTED + 1) * _LONGEST_CHARACTER].partition(b"\n")[0].rstrip()
    line = first.decode(errors="backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return f'"{shown}"' if len(shown) <= _QUOTED else f'"{shown[:_QUOTED]}…"'
