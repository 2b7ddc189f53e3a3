"""A connection of a probe to a server, with a buffer of received bytes that the probe reads message by message."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from healthcheck.probe import ProbeFailed, Stream, Target, hang_up

__all__ = ["MOST_BYTES", "Conversation", "conversation", "quoted"]

MOST_BYTES = 65_536
"""Limit for one answer: more than any of these protocols needs. It bounds the memory if a server sends endlessly."""
_QUOTED = 60  # characters of an unexpected answer in the reason
_LINE = re.compile(rb"\r?\n")


class Conversation:
    """A connection to a server, and the received bytes that are not consumed yet.

    The methods raise ProbeFailed if the server closes the connection too early, and the exceptions of the stream.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.unread = bytearray()
        self.closing_message = b""
        """The protocol's message to end a session, sent before the connection is closed, unless the check timed out."""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, pattern: re.Pattern[bytes]) -> bytes:
        """Read up to the end of the first match. Each received chunk starts a new search from the beginning."""
        while not (match := pattern.search(self.unread)):
            if len(self.unread) >= MOST_BYTES:
                raise ProbeFailed(f"the first {MOST_BYTES} bytes of the answer do not match")
            await self._receive()
        return self._take(match.end())

    async def line(self, *, or_end: bool = False) -> bytes:
        """Read the next line, without its end; with ``or_end``, the end of the stream ends a line too."""
        while not (end := _LINE.search(self.unread)):
            if len(self.unread) >= MOST_BYTES:
                raise ProbeFailed(f"a line of more than {MOST_BYTES} bytes: {quoted(self.unread)}")
            if not await self._receive(required=not (or_end and self.unread)):
                return self._take(len(self.unread))
        return self._take(end.end())[: end.start()]

    async def exactly(self, count: int) -> bytes:
        """Read exactly ``count`` bytes."""
        while len(self.unread) < count:
            await self._receive()
        return self._take(count)

    async def _receive(self, *, required: bool = True) -> bool:
        """Receive more bytes. At the end of the stream, raises ProbeFailed if ``required``, else returns False."""
        chunk = await self.stream.receive_some()
        if not chunk and required:
            what = f"answer {quoted(self.unread)} does not match" if self.unread else "no answer"
            raise ProbeFailed(f"closed the connection, {what}")
        self.unread += chunk
        return bool(chunk)

    def _take(self, count: int) -> bytes:
        taken = bytes(self.unread[:count])
        del self.unread[:count]
        return taken


@asynccontextmanager
async def conversation(target: Target) -> AsyncIterator[Conversation]:
    """Connect, and close gracefully whatever the result, so that an unhealthy server logs no error either.

    After a timeout it closes at once; a ProbeFailed that replaces Cancelled propagates.
    """
    stream = await target.connect()
    connection = Conversation(stream)
    try:
        try:
            yield connection
        except ProbeFailed:
            if trio.current_effective_deadline() > trio.current_time():
                await hang_up(stream, connection.closing_message)
            raise
        await hang_up(stream, connection.closing_message)
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()


def quoted(answer: bytes | bytearray) -> str:
    """Quote the first line of an answer, with escapes for unprintable characters."""
    line = answer.strip().partition(b"\n")[0].rstrip().decode(errors="backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return f'"{shown}"' if len(shown) <= _QUOTED else f'"{shown[:_QUOTED]}…"'
