"""The smtp probe: greeting, EHLO, QUIT, as RFC 5321 has it."""

from __future__ import annotations

import re

from healthcheck import options
from healthcheck.conversation import Conversation, conversation, quoted
from healthcheck.probe import Probe, ProbeFailed, Target
from healthcheck.result import one_line

__all__ = ["SmtpProbe"]

_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_MOST_LINES = 100  # of one reply; a guess: servers list a dozen or two extensions
_NOT_KNOWN = (500, 502)  # the replies of a server that knows HELO only (RFC 5321, 4.1.4)


class SmtpProbe(Probe):
    """The greeting must be 220 and EHLO (or HELO, for a server that does not know it) be taken, with 250.

    ``hello`` is the name that the balancer gives itself. Another code is a failure with the server's words: 421, it
    is about to stop or too busy; 554, it does not want this client.
    """

    def __init__(self, hello: str = "localhost") -> None:
        if not options.word("hello", hello):
            raise ValueError("hello: must not be empty")
        self._hello = hello.encode()

    async def check(self, target: Target) -> str:
        async with conversation(target) as talk:
            greeting = await _reply(talk, "the connect")
            talk.goodbye = b"QUIT\r\n"
            _insist(greeting, 220)
            await talk.say(b"EHLO %s\r\n" % self._hello)
            answer = await _reply(talk, "EHLO")
            if answer[0] in _NOT_KNOWN:
                await talk.say(b"HELO %s\r\n" % self._hello)
                answer = await _reply(talk, "HELO")
            _insist(answer, 250)
        return _told(greeting)


async def _reply(talk: Conversation, to: str) -> tuple[int, str]:
    """A whole reply of one or more lines: the code, and the text of the first. Raises ProbeFailed for what is none."""
    code, text = 0, ""
    for _ in range(_MOST_LINES):
        line = await talk.line()
        match = _REPLY_LINE.fullmatch(line)
        if not match or (code and int(match[1]) != code):
            raise ProbeFailed(f"not an SMTP reply to {to}: {quoted(line)}")
        code, text = int(match[1]), text or (match[3] or b"").decode(errors="replace")
        if match[2] != b"-":
            return code, one_line(text)
    raise ProbeFailed(f"more than {_MOST_LINES} lines of reply to {to}")


def _told(reply: tuple[int, str]) -> str:
    code, text = reply
    return f"{code} {text}".rstrip()


def _insist(reply: tuple[int, str], code: int) -> None:
    if reply[0] != code:
        raise ProbeFailed(_told(reply))
