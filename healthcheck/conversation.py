"""A conversation with a server: bytes go out, and of what comes back just as much is taken as is understood."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from healthcheck.probe import ProbeFailed, Stream, Target, hang_up

__all__ = ["MOST_BYTES", "Conversation", "conversation", "quoted"]

MOST_BYTES = 65_536
"""Of one answer. More than any of these protocols needs; a server that talks for ever shall cost no memory."""
_QUOTED = 60  # characters of a wrong answer in the reason
_LINE = re.compile(rb"\r?\n")


class Conversation:
    """One connection to a server, and what it has said and nobody has taken yet.

    Raises ProbeFailed if the server closes before it has said what is asked for, and what the stream raises.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.unread = bytearray()
        self.goodbye = b""
        """The protocol's last word, said before the connection is closed, unless the time was over first."""

    async def say(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, pattern: re.Pattern[bytes]) -> bytes:
        """What comes up to the end of the first match; that is looked for anew with each piece that arrives."""
        while not (match := pattern.search(self.unread)):
            if len(self.unread) >= MOST_BYTES:
                raise ProbeFailed(f"the first {MOST_BYTES} bytes of the answer do not match")
            await self._heard()
        return self._take(match.end())

    async def line(self, *, or_end: bool = False) -> bytes:
        """The next line, without its end; with ``or_end`` also what the server says, and closes."""
        while not (end := _LINE.search(self.unread)):
            if len(self.unread) >= MOST_BYTES:
                raise ProbeFailed(f"a line of more than {MOST_BYTES} bytes: {quoted(self.unread)}")
            if not await self._heard(needed=not (or_end and self.unread)):
                return self._take(len(self.unread))
        return self._take(end.end())[: end.start()]

    async def exactly(self, count: int) -> bytes:
        """The next so many bytes."""
        while len(self.unread) < count:
            await self._heard()
        return self._take(count)

    async def _heard(self, *, needed: bool = True) -> bool:
        """Take in more. If the server closes instead: ProbeFailed if it is ``needed``, else False."""
        chunk = await self.stream.receive_some()
        if not chunk and needed:
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
    """Connect, and close in an orderly way whatever the verdict: a server that is ill keeps a log as well.

    If the time is over there is none left for that, and a reason in place of Cancelled gets through.
    """
    stream = await target.connect()
    talk = Conversation(stream)
    try:
        try:
            yield talk
        except ProbeFailed:
            if trio.current_effective_deadline() > trio.current_time():
                await hang_up(stream, talk.goodbye)
            raise
        await hang_up(stream, talk.goodbye)
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()


def quoted(answer: bytes | bytearray) -> str:
    """The first line, with what is not printable as escapes."""
    line = answer.strip().partition(b"\n")[0].rstrip().decode(errors="backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return f'"{shown}"' if len(shown) <= _QUOTED else f'"{shown[:_QUOTED]}…"'
