"""The exchange probe: send some bytes, expect some; for protocols that have no probe of their own."""

from __future__ import annotations

import trio

from healthcheck import options
from healthcheck.probe import Probe, ProbeFailed, Stream, Target, hang_up

__all__ = ["ExchangeProbe"]

_MOST_BYTES = 65_536  # of an answer that are searched
_QUOTED = 60  # characters of a wrong answer in the reason


class ExchangeProbe(Probe):
    r"""Connect, send ``send``, and read until ``expect`` is found in the bytes so far.

    ``send`` is text and goes out as UTF-8; left out for protocols where the server speaks first. ``expect`` is a
    regular expression over bytes; left out, the server passes if it takes the connection and what is sent.
    """

    def __init__(self, send: str = "", expect: str = "") -> None:
        self._send = options.text("send", send).encode()
        self._expect = options.pattern("expect", expect)
        if not send and not expect:
            raise ValueError("exchange needs 'send', 'expect' or both")

    async def check(self, target: Target) -> str:
        answer = bytearray()
        try:
            async with await target.connect() as stream:
                if self._send:
                    await stream.send_all(self._send)
                await self._read_answer(stream, answer)
                await hang_up(stream)
        except trio.Cancelled:
            if not answer or self._expect.search(answer):
                raise
            raise ProbeFailed(f"answer {_quoted(answer)} does not match") from None
        return f"answer {_quoted(answer)}" if answer else f"sent {len(self._send)} bytes"

    async def _read_answer(self, stream: Stream, answer: bytearray) -> None:
        """Add to ``answer`` until ``expect`` is found in it. Raises ProbeFailed if it cannot be any more."""
        while not self._expect.search(answer):
            if len(answer) >= _MOST_BYTES:
                raise ProbeFailed(f"the first {_MOST_BYTES} bytes of the answer do not match")
            chunk = await stream.receive_some()
            if not chunk:
                what = f"answer {_quoted(answer)} does not match" if answer else "no answer"
                raise ProbeFailed(f"closed the connection, {what}")
            answer += chunk


def _quoted(answer: bytearray) -> str:
    """The first line, with what is not printable as escapes."""
    line = answer.strip().partition(b"\n")[0].rstrip().decode(errors="backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return f'"{shown}"' if len(shown) <= _QUOTED else f'"{shown[:_QUOTED]}…"'
