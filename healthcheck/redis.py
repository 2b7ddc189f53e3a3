"""The redis probe: PING, in the protocol of Redis (RESP) and of what speaks it too, such as Valkey or KeyDB."""

from __future__ import annotations

import re

from healthcheck import options
from healthcheck.conversation import Conversation, conversation, quoted
from healthcheck.probe import Probe, ProbeFailed, Target
from healthcheck.result import one_line

__all__ = ["RedisProbe"]

_QUOTES = re.compile("[,'\"`]")


class RedisProbe(Probe):
    """PING must get PONG; with a ``password``, AUTH goes first, of the user ``username`` where there is one.

    An error is a failure with the server's words: NOAUTH (it wants a password), LOADING (it still reads its data),
    MASTERDOWN (a replica without its primary, that serves no old data), BUSY (a script runs), or any other.
    """

    secrets = ("password",)

    def __init__(self, password: str = "", username: str = "") -> None:
        self._password = options.secret("password", password)
        self._username = options.text("username", username)
        if username and not password:
            raise ValueError("username: needs 'password' beside it")

    async def check(self, target: Target) -> str:
        async with conversation(target) as talk:
            talk.goodbye = _command("QUIT")
            if self._password:
                await self._log_in(talk)
            await talk.say(_command("PING"))
            answer = await talk.line()
            if answer.startswith(b"-"):
                raise ProbeFailed(_words(self._struck(answer)))
            if answer != b"+PONG":
                raise ProbeFailed(f"answer {quoted(self._struck(answer))} to PING")
        return "PONG"

    async def _log_in(self, talk: Conversation) -> None:
        """A server that does not know AUTH (it can be renamed) repeats in its error what came with it, the password.

        So of a refusal is told what comes before a quotation, and nothing of what is no refusal.
        """
        user = [self._username] if self._username else []
        await talk.say(_command("AUTH", *user, self._password))
        answer = await talk.line()
        if answer.startswith(b"-"):
            raise ProbeFailed(f"AUTH: {_QUOTES.split(_words(self._struck(answer)))[0].strip()}")
        if answer != b"+OK":
            raise ProbeFailed("AUTH: not an answer of Redis")

    def _struck(self, answer: bytes) -> bytes:
        """Without the password, wherever the server repeats it."""
        return answer.replace(self._password.encode(), "…".encode()) if self._password else answer


def _command(*words: str) -> bytes:
    """An array of bulk strings: what clients send, and safe for any word."""
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in encoded)


def _words(error: bytes) -> str:
    """An error without its sign."""
    return one_line(error[1:].decode(errors="replace")) or "an error without words"
