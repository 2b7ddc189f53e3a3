"""The postgres probe: the server's reply to a startup message. Version 3.0 of PostgreSQL's protocol.

Source: PostgreSQL's documentation, "Frontend/Backend Protocol" (message flow and formats), "PostgreSQL Error Codes".
"""

from __future__ import annotations

import struct
from typing import Annotated

from healthcheck.conversation import Conversation, Script, Steps, quoted
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import ProbeFailed
from healthcheck.probes import options
from healthcheck.result import one_line

__all__ = ["PostgresProbe"]

_VERSION = 196_608  # 3.0
_TERMINATE = b"X\0\0\0\4"
_MOST_BYTES = 65_536  # per message; messages at startup have some hundred bytes
_MOST_MESSAGES = 1000  # until the session is ready: some dozen parameters, and perhaps notices; an estimate
_MOST_FIELDS = 32  # of an error that are read; the protocol knows 18
_CLIENT_ERRORS = ("28", "3D")
"""SQLSTATE classes of errors that concern this client only: invalid authorization, unknown database."""


class PostgresProbe(ConversationProbe):
    """Start a session as ``user`` in ``database`` (default: the database with the user's name), without a password.

    A server passes if it accepts the login, asks for a password, or refuses this user or database: it is alive. Any
    other error is a failure with the server's message: "the database system is starting up", "sorry, too many clients
    already".

    The session ends with a Terminate message. If the server asks for a password, the probe closes the connection
    instead, as psql does; the server logs nothing about it.
    """

    def __init__(self, user: Annotated[str, {"minLength": 1}] = "postgres", database: str = "") -> None:
        _check("user", user)
        _check("database", database)
        if not user:
            raise ValueError("user: must not be empty, the protocol requires one")
        parameters = ["user", user, *(["database", database] if database else []), "application_name", "trio-lb"]
        body = struct.pack("!I", _VERSION) + b"".join(each.encode() + b"\0" for each in parameters) + b"\0"
        self._startup = struct.pack("!I", len(body) + 4) + body

    def talk(self, conversation: Conversation) -> Script:
        conversation.send(self._startup)
        for _ in range(_MOST_MESSAGES):
            kind, body = yield from _message(conversation)
            if kind == b"E":
                return _judge(body)
            if kind == b"R" and body[:4] != b"\0\0\0\0":
                return "alive, asks for authentication"
            if kind == b"R":
                conversation.closing_message = _TERMINATE
            if kind == b"Z":
                return "ready"
        raise ProbeFailed(f"not ready after {_MOST_MESSAGES} messages")


def _check(option: str, value: object) -> None:
    if "\0" in options.text(option, value):
        raise ValueError(f"{option}: must hold no NUL")


def _message(conversation: Conversation) -> Steps[tuple[bytes, bytes]]:
    """Read a message: its type and its body. Raises ProbeFailed for an invalid message at startup."""
    head = yield from conversation.exactly(5)
    kind, length = head[:1], struct.unpack("!I", head[1:])[0]
    if kind not in b"ERNSKvZ" or not 4 <= length <= _MOST_BYTES:
        raise ProbeFailed(f"not an answer of PostgreSQL: {quoted(head + conversation.unread)}")
    return kind, (yield from conversation.exactly(length - 4))


def _judge(error: bytes) -> str:
    """Return the detail for an error that concerns this client only. Raises ProbeFailed for any other error."""
    fields = {
        field[:1]: one_line(field[1:].decode(errors="replace")) for field in error.split(b"\0", _MOST_FIELDS) if field
    }
    code, message = fields.get(b"C", ""), fields.get(b"M") or "an error without a message"
    if code.startswith(_CLIENT_ERRORS):
        return f"alive, {message}"
    raise ProbeFailed(f"{message} ({code})" if code else message)
