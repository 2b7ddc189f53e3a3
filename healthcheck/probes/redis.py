"""The redis probe: PING in the protocol of Redis (RESP), also for compatible servers such as Valkey or KeyDB."""

from __future__ import annotations

import re

from healthcheck.conversation import Conversation, Script, Steps, quoted
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import ProbeFailed
from healthcheck.probes import options
from healthcheck.result import one_line

__all__ = ["RedisProbe"]

_QUOTES = re.compile("[,'\"`]")


class RedisProbe(ConversationProbe):
    """Send PING and expect PONG. With a ``password``, send AUTH first, with ``username`` if given.

    An error is a failure with the server's message: NOAUTH (a password is required), LOADING (the server still loads
    its data), MASTERDOWN (a replica without its primary that serves no stale data), BUSY (a script runs), or another.
    """

    secrets = ("password",)

    def __init__(self, password: str = "", username: str = "") -> None:
        self._password = options.secret("password", password)
        self._username = options.text("username", username)
        if username and not password:
            raise ValueError("username: needs 'password' as well")

    def talk(self, conversation: Conversation) -> Script:
        conversation.closing_message = _command("QUIT")
        if self._password:
            yield from self._log_in(conversation)
        conversation.send(_command("PING"))
        answer = yield from conversation.line()
        if answer.startswith(b"-"):
            raise ProbeFailed(_message(self._redacted(answer)))
        if answer != b"+PONG":
            raise ProbeFailed(f"answer {quoted(self._redacted(answer))} to PING")
        return "PONG"

    def _log_in(self, conversation: Conversation) -> Steps[None]:
        """Send AUTH. Raises ProbeFailed if the server refuses it.

        A server without AUTH (it can be renamed) repeats the arguments in its error, so the password. The reason
        therefore only has the part of an error before the first quote, and nothing of any other reply.
        """
        user = [self._username] if self._username else []
        conversation.send(_command("AUTH", *user, self._password))
        answer = yield from conversation.line()
        if answer.startswith(b"-"):
            raise ProbeFailed(f"AUTH: {_QUOTES.split(_message(self._redacted(answer)))[0].strip()}")
        if answer != b"+OK":
            raise ProbeFailed("AUTH: not an answer of Redis")

    def _redacted(self, answer: bytes) -> bytes:
        """Replace the password in a reply."""
        return answer.replace(self._password.encode(), "…".encode()) if self._password else answer


def _command(*arguments: str) -> bytes:
    """Encode a command as an array of bulk strings: safe for any argument."""
    encoded = [argument.encode() for argument in arguments]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in encoded)


def _message(error: bytes) -> str:
    """Return the message of an error reply."""
    return one_line(error[1:].decode(errors="replace")) or "an error without a message"
