"""The exchange probe: send some bytes, expect some; for protocols that have no probe of their own."""

from __future__ import annotations

import re

import trio

from healthcheck import options
from healthcheck.probe import Probe, ProbeFailed, Target, hang_up

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
        self._expect = options.pattern("expect", expect) if expect != "" else None
        if not self._send and self._expect is None:
            raise ValueError("exchange needs 'send', 'expect' or both")

    async def check(self, target: Target) -> str:
        async with await target.connect() as stream:
            if self._send:
                await stream.send_all(self._send)
            answer = await _read_until(self._expect, stream) if self._expect else None
            await hang_up(stream)
        return f"sent {len(self._send)} bytes" if answer is None else f"answer {_quoted(answer)}"


async def _read_until(expect: re.Pattern[bytes], stream: trio.SocketStream) -> bytes:
    """What the server has said when ``expect`` is found in it. Raises ProbeFailed if it never is."""
    answer = b""
    while not expect.search(answer):
        if len(answer) >= _MOST_BYTES:
            raise ProbeFailed(f"the first {_MOST_BYTES} bytes of the answer do not match")
        try:
            chunk = await stream.receive_some()
        except trio.Cancelled:
            if not answer:
                raise
            raise ProbeFailed(f"answer {_quoted(answer)} does not match") from None
        if not chunk:
            what = f"answer {_quoted(answer)} does not match" if answer else "no answer"
            raise ProbeFailed(f"closed the connection, {what}")
        answer += chunk
    return answer


def _quoted(answer: bytes) -> str:
    """The first line, with what is not printable as escapes."""
    line = answer.strip().partition(b"\n")[0].rstrip().decode(errors="backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return f'"{shown}"' if len(shown) <= _QUOTED else f'"{shown[:_QUOTED]}…"'
