"""The smtp probe: greeting, EHLO, QUIT (RFC 5321)."""

from __future__ import annotations

import re
from typing import Annotated

from healthcheck.conversation import Conversation, Script, Steps, quoted
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import ProbeFailed
from healthcheck.probes import options
from healthcheck.result import one_line

__all__ = ["SmtpProbe"]

_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_MOST_LINES = 100  # per reply; an estimate: servers list one or two dozen extensions
_NOT_KNOWN = (500, 502)  # replies of a server that only supports HELO (RFC 5321, 4.1.4)


class SmtpProbe(ConversationProbe):
    """Expect a 220 greeting, and 250 in reply to EHLO (or HELO, if the server does not support EHLO).

    ``hello`` is the name that the balancer sends. Any other code is a failure with the server's message: 421, the
    server is stopping or too busy; 554, it refuses this client.
    """

    def __init__(self, hello: Annotated[str, {"minLength": 1}] = "localhost") -> None:
        if not options.word("hello", hello):
            raise ValueError("hello: must not be empty")
        self._hello = hello.encode()

    def talk(self, conversation: Conversation) -> Script:
        greeting = yield from _reply(conversation, "the connect")
        conversation.closing_message = b"QUIT\r\n"
        _require(greeting, 220)
        conversation.send(b"EHLO %s\r\n" % self._hello)
        answer = yield from _reply(conversation, "EHLO")
        if answer[0] in _NOT_KNOWN:
            conversation.send(b"HELO %s\r\n" % self._hello)
            answer = yield from _reply(conversation, "HELO")
        _require(answer, 250)
        return _text(greeting)


def _reply(conversation: Conversation, to: str) -> Steps[tuple[int, str]]:
    """Read a reply of one or more lines: its code, and the text of its first line. Raises ProbeFailed if invalid."""
    code, text = 0, ""
    for _ in range(_MOST_LINES):
        line = yield from conversation.line()
        match = _REPLY_LINE.fullmatch(line)
        if not match or (code and int(match[1]) != code):
            raise ProbeFailed(f"not an SMTP reply to {to}: {quoted(line)}")
        code, text = int(match[1]), text or (match[3] or b"").decode(errors="replace")
        if match[2] != b"-":
            return code, one_line(text)
    raise ProbeFailed(f"more than {_MOST_LINES} lines of reply to {to}")


def _text(reply: tuple[int, str]) -> str:
    code, text = reply
    return f"{code} {text}".rstrip()


def _require(reply: tuple[int, str], code: int) -> None:
    if reply[0] != code:
        raise ProbeFailed(_text(reply))
