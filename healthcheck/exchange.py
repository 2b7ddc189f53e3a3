"""The exchange probe: send some bytes, expect some, and so on; for protocols that have no probe of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs
import trio

from healthcheck import options
from healthcheck.conversation import Conversation, conversation, quoted
from healthcheck.probe import Probe, ProbeFailed, Target, describe_broken

__all__ = ["ExchangeProbe"]


@attrs.frozen
class _Step:
    """Bytes to send, then a pattern to wait for in what comes after the last step's match."""

    send: bytes
    expect: re.Pattern[bytes]
    label: str = ""
    """How a failure names it: ``step 2 (login)``."""

    async def run(self, talk: Conversation) -> bytes:
        """Returns the answer up to the end of the match. Raises ProbeFailed, also if the time is over, where that
        says more than "no answer in 1 s".
        """
        try:
            if self.send:
                await talk.say(self.send)
            return await talk.until(self.expect)
        except ProbeFailed as failure:
            raise ProbeFailed(self._named(str(failure))) from failure
        except trio.Cancelled:
            if talk.unread and not self.expect.search(talk.unread):
                raise ProbeFailed(self._named(f"answer {quoted(talk.unread)} does not match")) from None
            if self.label:
                raise ProbeFailed(self._named("no answer in time")) from None
            raise
        except trio.BrokenResourceError as error:
            if not self.label:
                raise
            raise ProbeFailed(self._named(describe_broken(error))) from error

    def _named(self, reason: str) -> str:
        return f"{self.label}: {reason}" if self.label else reason


class ExchangeProbe(Probe):
    r"""Connect, send ``send``, and read until ``expect`` is found in the bytes so far; or do so for each of ``steps``.

    ``send`` is text and goes out as UTF-8; left out for protocols where the server speaks first. ``expect`` is a
    regular expression over bytes; left out, the server passes if it takes the connection and what is sent. Each of
    ``steps`` is a table of these two, and of a ``name`` for the reason of a failure if its number is not enough.
    """

    secrets = ("send", "steps")  # a login is among what is sent

    def __init__(self, send: str = "", expect: str = "", steps: Sequence[object] = ()) -> None:
        if steps and (send or expect):
            raise ValueError("steps: 'send' and 'expect' belong into the steps")
        if not (steps or send or expect):
            raise ValueError("exchange needs 'send', 'expect' or both, or 'steps'")
        text, pattern = options.secret("send", send), options.pattern("expect", expect)
        self._steps = tuple(_read_steps(steps)) if steps else (_Step(text.encode(), pattern),)

    async def check(self, target: Target) -> str:
        answer = b""
        async with conversation(target) as talk:
            for step in self._steps:
                answer = await step.run(talk) + talk.unread
        sent = sum(len(step.send) for step in self._steps)
        return f"answer {quoted(answer)}" if answer else f"sent {sent} bytes"


def _read_steps(steps: Sequence[object]) -> Iterator[_Step]:
    """Raises ValueError ``"steps: …"`` for what is no list of tables with the keys of a step."""
    for number, step in enumerate(options.items("steps", steps), start=1):
        try:
            yield _read_step(number, options.table(step))
        except ValueError as error:
            raise ValueError(f"steps: step {number}: {error}") from error


def _read_step(number: int, step: dict[str, object]) -> _Step:
    unknown = [key for key in step if key not in ("send", "expect", "name")]
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; a step has send, expect and name")
    send = options.secret("send", step.get("send", ""))
    expect = options.pattern("expect", step.get("expect", ""))
    name = options.text("name", step.get("name", ""))
    if not (send or step.get("expect")):
        raise ValueError("needs 'send', 'expect' or both")
    return _Step(send.encode(), expect, f"step {number} ({name})" if name else f"step {number}")
