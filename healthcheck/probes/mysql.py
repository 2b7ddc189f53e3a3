"""The mysql probe: a complete login. For MySQL and MariaDB, protocol version 10.

Source: MariaDB's and MySQL's documentation of the client/server protocol, "Connection Phase".

The server counts an interrupted login as an error of the client's host, and blocks the host after
``max_connect_errors`` (100) in a row. That would block the balancer, and so all clients. The probe therefore always
completes the login.
"""

from __future__ import annotations

import struct

from healthcheck.conversation import Conversation, Script, Steps, quoted
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import ProbeFailed
from healthcheck.probes import options
from healthcheck.result import one_line

__all__ = ["MysqlProbe"]

_CAPABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000  # long password, protocol 4.1, secure connection, plugin auth
_PROTOCOL = 10
_CHARSET = 33  # utf8_general_ci, supported by every version
_LARGEST_PACKET = 65_536  # largest packet accepted; a greeting has about a hundred bytes
_QUIT = b"\1\0\0\0\1"
_OK, _SWITCH, _MORE, _ERROR = 0x00, 0xFE, 0x01, 0xFF
_ACCEPTED = bytes([_MORE, 3])  # SHA-2 methods: accepted, the result follows
_ACCESS_DENIED = (1045, 1698)  # ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR
_MOST_PACKETS = 5  # for a login without a password: at most a switch of the method, and its result


class MysqlProbe(ConversationProbe):
    """Log in as ``user`` without a password, and quit.

    A server passes if it accepts the login, or denies this user access: it is alive and completed the login. However,
    it counts a denied login in ``Aborted_connects`` and may log a warning, so create a user without privileges.
    Any other error is a failure with the server's message: "Too many connections", "Host '…' is blocked".
    """

    def __init__(self, user: str = "") -> None:
        if "\0" in options.text("user", user):
            raise ValueError("user: must hold no NUL")
        self._user = user.encode()

    def talk(self, conversation: Conversation) -> Script:
        number, greeting = yield from _packet(conversation)
        version = _read_greeting(greeting)
        conversation.send(_framed(number + 1, self._login()))
        for _ in range(_MOST_PACKETS):
            number, answer = yield from _packet(conversation)
            if answer[0] == _OK:
                conversation.closing_message = _QUIT
                return f"logged in, {version}"
            if answer[0] == _ERROR:
                return _judge(answer)
            if answer[0] == _SWITCH:
                conversation.send(_framed(number + 1, _no_password(answer)))
            elif answer[0] != _MORE:
                break
            elif answer != _ACCEPTED:  # a password is required: continue until the server refuses
                conversation.send(_framed(number + 1, b"\0"))
        raise ProbeFailed(f"not an answer to a login: {quoted(answer)}")

    def _login(self) -> bytes:
        head = struct.pack("<IIB23x", _CAPABILITIES, _LARGEST_PACKET, _CHARSET)
        return head + self._user + b"\0" + b"\0" + b"mysql_native_password\0"


def _framed(number: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([number % 256]) + payload


def _packet(conversation: Conversation) -> Steps[tuple[int, bytes]]:
    """Read a packet: its number and its payload of at least one byte. Raises ProbeFailed for an invalid length."""
    head = yield from conversation.exactly(4)
    length = int.from_bytes(head[:3], "little")
    if not 1 <= length <= _LARGEST_PACKET:
        raise ProbeFailed(f"not an answer of MySQL: {quoted(head + conversation.unread)}")
    return head[3], (yield from conversation.exactly(length))


def _read_greeting(packet: bytes) -> str:
    """Return the server's version. Raises ProbeFailed for an error or an invalid packet in place of a greeting."""
    if packet[0] == _ERROR:
        raise ProbeFailed(_read_error(packet)[1])
    version, end, _ = packet[1:].partition(b"\0")
    if packet[0] != _PROTOCOL or not end:
        raise ProbeFailed(f"not a greeting of MySQL: {quoted(packet)}")
    return one_line(version.decode(errors="replace"))


def _read_error(packet: bytes) -> tuple[int, str]:
    """Return an error's code and message. After the handshake, ``#`` and a five-character state stand between them."""
    code, message = int.from_bytes(packet[1:3], "little"), packet[3:]
    if message[:1] == b"#":
        message = message[6:]
    return code, one_line(message.decode(errors="replace")) or f"error {code}"


def _judge(error: bytes) -> str:
    """Return the detail for an error that only denies access. Raises ProbeFailed for any other error."""
    code, message = _read_error(error)
    if code in _ACCESS_DENIED:
        return f"alive, {message}"
    raise ProbeFailed(message)


def _no_password(switch: bytes) -> bytes:
    """Return an empty password for another authentication method: a NUL for SHA-2 methods, nothing for the others."""
    method = switch[1:].partition(b"\0")[0]
    return b"\0" if b"sha" in method else b""
