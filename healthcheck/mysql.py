"""The mysql probe: a finished login. For MySQL and MariaDB, protocol version 10.

Source: MariaDB's and MySQL's documentation of the client/server protocol, "Connection Phase".

A client that leaves before the login is over counts as an error of its host, and after ``max_connect_errors`` (100) of
them in a row the server refuses that host, which is the balancer, and so all clients. So the probe always logs in.
"""

from __future__ import annotations

import struct

from healthcheck import options
from healthcheck.conversation import Conversation, conversation, quoted
from healthcheck.probe import Probe, ProbeFailed, Target
from healthcheck.result import one_line

__all__ = ["MysqlProbe"]

_CAPABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000  # long password, protocol 4.1, secure connection, plugin auth
_PROTOCOL = 10
_CHARSET = 33  # utf8_general_ci, which every version knows
_LARGEST_PACKET = 65_536  # that we take; a greeting has a hundred bytes
_QUIT = b"\1\0\0\0\1"
_OK, _SWITCH, _MORE, _ERROR = 0x00, 0xFE, 0x01, 0xFF
_ACCEPTED = bytes([_MORE, 3])  # of the SHA-2 methods: the result follows
_ACCESS_DENIED = (1045, 1698)  # ER_ACCESS_DENIED_ERROR, and without a word about a password
_MOST_PACKETS = 5  # of a login without a password: at most a change of the method, and its result


class MysqlProbe(Probe):
    """Log in as ``user`` without a password, and quit.

    A server that lets us in passes. One that denies this user access passes too: it is alive, and has finished the
    login; but it counts such a login in ``Aborted_connects`` and may log a warning, so give it a user without rights.
    Any other error is a failure with the server's words: "Too many connections", "Host '…' is blocked".
    """

    def __init__(self, user: str = "") -> None:
        if "\0" in options.text("user", user):
            raise ValueError("user: must hold no NUL")
        self._user = user.encode()

    async def check(self, target: Target) -> str:
        async with conversation(target) as talk:
            number, greeting = await _packet(talk)
            version = _read_greeting(greeting)
            await talk.say(_framed(number + 1, self._login()))
            for _ in range(_MOST_PACKETS):
                number, answer = await _packet(talk)
                if answer[0] == _OK:
                    talk.goodbye = _QUIT
                    return f"logged in, {version}"
                if answer[0] == _ERROR:
                    return _judge(answer)
                if answer[0] == _SWITCH:
                    await talk.say(_framed(number + 1, _no_password(answer)))
                elif answer[0] != _MORE:
                    break
                elif answer != _ACCEPTED:  # it wants the password after all: go on to the refusal
                    await talk.say(_framed(number + 1, b"\0"))
            raise ProbeFailed(f"not an answer to a login: {quoted(answer)}")

    def _login(self) -> bytes:
        head = struct.pack("<IIB23x", _CAPABILITIES, _LARGEST_PACKET, _CHARSET)
        return head + self._user + b"\0" + b"\0" + b"mysql_native_password\0"


def _framed(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number % 256]) + payload


async def _packet(talk: Conversation) -> tuple[int, bytes]:
    """Its number and what it holds, at least a byte. Raises ProbeFailed for what can be none of a login."""
    head = await talk.exactly(4)
    length = int.from_bytes(head[:3], "little")
    if not 1 <= length <= _LARGEST_PACKET:
        raise ProbeFailed(f"not an answer of MySQL: {quoted(head + talk.unread)}")
    return head[3], await talk.exactly(length)


def _read_greeting(packet: bytes) -> str:
    """The server's version. Raises ProbeFailed for an error in place of a greeting, and for what is neither."""
    if packet[0] == _ERROR:
        raise ProbeFailed(_read_error(packet)[1])
    version, end, _ = packet[1:].partition(b"\0")
    if packet[0] != _PROTOCOL or not end:
        raise ProbeFailed(f"not a greeting of MySQL: {quoted(packet)}")
    return one_line(version.decode(errors="replace"))


def _read_error(packet: bytes) -> tuple[int, str]:
    """Its number and its words; a state of five characters after ``#`` stands between them once both sides know."""
    code, message = int.from_bytes(packet[1:3], "little"), packet[3:]
    if message[:1] == b"#":
        message = message[6:]
    return code, one_line(message.decode(errors="replace")) or f"error {code}"


def _judge(error: bytes) -> str:
    """The detail for an error that only says that we may not come in. Raises ProbeFailed for another."""
    code, message = _read_error(error)
    if code in _ACCESS_DENIED:
        return f"alive, {message}"
    raise ProbeFailed(message)


def _no_password(switch: bytes) -> bytes:
    """The answer to another method: the SHA-2 ones want an empty password's end, the others nothing at all."""
    method = switch[1:].partition(b"\0")[0]
    return b"\0" if b"sha" in method else b""
