"""The postgres probe: what a server says to the start of a session. Version 3.0 of PostgreSQL's protocol.

Source: PostgreSQL's documentation, "Frontend/Backend Protocol" (message flow and formats), "PostgreSQL Error Codes".
"""

from __future__ import annotations

import struct

from healthcheck import options
from healthcheck.conversation import Conversation, conversation, quoted
from healthcheck.probe import Probe, ProbeFailed, Target
from healthcheck.result import one_line

__all__ = ["PostgresProbe"]

_VERSION = 196_608  # 3.0
_TERMINATE = b"X\0\0\0\4"
_MOST_BYTES = 65_536  # of a message; those of a start have some hundred
_MOST_MESSAGES = 1000  # until the session is ready: some dozen parameters, and perhaps notices; a guess
_ABOUT_THE_CLIENT = ("28", "3D")
"""Classes of SQLSTATE that say who may not come in, not that nobody may: authorization, no such database."""


class PostgresProbe(Probe):
    """Start a session as ``user`` in ``database`` (by default that of the user's name), without a password.

    A server that lets us in passes, and so does one that asks for a password or refuses this user or database: it is
    alive, and nothing else was asked. Any other error is a failure with the server's words: "the database system is
    starting up", "sorry, too many clients already".

    The session ends with a Terminate. If a password is asked for, the connection is closed in its place: that is
    what psql does, and the server's log says nothing about it.
    """

    def __init__(self, user: str = "postgres", database: str = "") -> None:
        _check("user", user)
        _check("database", database)
        if not user:
            raise ValueError("user: must not be empty, the protocol insists on one")
        words = ["user", user, *(["database", database] if database else []), "application_name", "trio-lb"]
        body = struct.pack("!I", _VERSION) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self._startup = struct.pack("!I", len(body) + 4) + body

    async def check(self, target: Target) -> str:
        async with conversation(target) as talk:
            await talk.say(self._startup)
            for _ in range(_MOST_MESSAGES):
                kind, body = await _message(talk)
                if kind == b"E":
                    return _judge(body)
                if kind == b"R" and body[:4] != b"\0\0\0\0":
                    return "alive, asks for authentication"
                if kind == b"R":
                    talk.goodbye = _TERMINATE
                if kind == b"Z":
                    return "ready"
            raise ProbeFailed(f"not ready after {_MOST_MESSAGES} messages")


def _check(option: str, value: object) -> None:
    if "\0" in options.text(option, value):
        raise ValueError(f"{option}: must hold no NUL")


async def _message(talk: Conversation) -> tuple[bytes, bytes]:
    """Its type and what it holds. Raises ProbeFailed for what can be none at the start of a session."""
    head = await talk.exactly(5)
    kind, length = head[:1], struct.unpack("!I", head[1:])[0]
    if kind not in b"ERNSKvZ" or not 4 <= length <= _MOST_BYTES:
        raise ProbeFailed(f"not an answer of PostgreSQL: {quoted(head + talk.unread)}")
    return kind, await talk.exactly(length - 4)


def _judge(error: bytes) -> str:
    """The detail for an error that only says that we may not come in. Raises ProbeFailed for another."""
    fields = {field[:1]: one_line(field[1:].decode(errors="replace")) for field in error.split(b"\0") if field}
    code, message = fields.get(b"C", ""), fields.get(b"M") or "an error without words"
    if code.startswith(_ABOUT_THE_CLIENT):
        return f"alive, {message}"
    raise ProbeFailed(f"{message} ({code})" if code else message)
