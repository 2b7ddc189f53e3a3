"""The server's side of SOCKS: version 5 (RFC 1928, with the login of RFC 1929) and version 4, 4a. No I/O.

The caller feeds what the client sends and takes events out, until one is a :class:`SocksRequest` or a
:class:`SocksRefused`::

    while not isinstance(event := server.next(), NeedMore):
        ...

A client may send everything at once, the first bytes for its target too: they are in ``SocksRequest.leftover``.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Literal, TypeAlias

import attrs

from lb.forward.target import SEEN_TARGETS, ForwardTarget, target_of_address, target_of_name
from lb.http1.grammar import MalformedError
from lb.model.forward import ForwardProtocol

__all__ = [
    "NeedMore",
    "SocksEvent",
    "SocksLogin",
    "SocksRefused",
    "SocksReply",
    "SocksRequest",
    "SocksSend",
    "SocksServer",
]

_ROOM = 600
"""Bytes. The longest message is a request of version 4a, 520 bytes."""
_LONGEST_TEXT = 255
"""Bytes of a user and of a name in version 4a. Version 5 has the same limit by its format."""
_CONNECT = 1
_NO_LOGIN, _PASSWORD = 0, 2
_NO_METHOD_REPLY = b"\x05\xff"
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}
_NO_ADDRESS = bytes(6)
"""An IPv4 address and a port, in either order."""
_GRANTED, _REJECTED = 90, 91
"""Replies of version 4."""
_NOT_YET, _TOO_LONG = -1, -2


class SocksReply(enum.IntEnum):
    """The replies of version 5: RFC 1928, section 6. Version 4 has one for all that are no success."""

    SUCCEEDED = 0
    GENERAL = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


@attrs.frozen
class NeedMore:
    """The client's message is not complete: feed more bytes."""


@attrs.frozen
class SocksSend:
    """Send these bytes to the client, then go on."""

    data: bytes


@attrs.frozen
class SocksLogin:
    """The client says who it is. Check it, call :meth:`SocksServer.login_result` and go on."""

    user: bytes
    password: bytes = attrs.field(repr=False)


@attrs.frozen
class SocksRequest:
    """The client asks for a connection to the target. Answer with :meth:`SocksServer.reply`."""

    version: Literal[4, 5]
    target: ForwardTarget
    leftover: bytes
    """What the client has sent behind its request, for the target."""


@attrs.frozen
class SocksRefused:
    """The client cannot be served: send the bytes, if there are any, and close."""

    data: bytes
    why: str
    unauthorized: bool = False
    """The client has not logged in, or not as a user."""


_NEED_MORE = NeedMore()
SocksEvent: TypeAlias = NeedMore | SocksSend | SocksLogin | SocksRequest | SocksRefused


class SocksServer:
    """The negotiation with one client, up to its request.

    ``auth``: clients must log in, which only version 5 can.
    """

    def __init__(self, protocols: Sequence[ForwardProtocol], *, auth: bool) -> None:
        self._protocols = protocols
        self._auth = auth
        self._buffer = b""
        self._step: Callable[[SocksServer], SocksEvent] = SocksServer._read_version
        """A function, not a bound method: that would be a reference cycle."""
        self._version: Literal[4, 5] = 5

    @property
    def room(self) -> int:
        """How many bytes to receive at most, so that it never holds more than 600; not 0 after :class:`NeedMore`."""
        return max(0, _ROOM - len(self._buffer))

    def feed(self, data: bytes) -> None:
        """Add bytes from the client."""
        self._buffer += data

    def next(self) -> SocksEvent:
        """Return what is to be done next. After a refusal, it returns that again."""
        return self._step(self)

    def login_result(self, ok: bool) -> bytes:
        """Return the reply to a login. After one that failed, the next event is a refusal."""
        if ok:
            self._step = SocksServer._read_request
            return b"\x01\x00"
        self._refuse(b"", "the login is wrong", unauthorized=True)
        return b"\x01\x01"

    def reply(self, code: SocksReply) -> bytes:
        """Return the reply to the request. It does not tell the balancer's own address towards the target."""
        if self._version == 4:
            return bytes((0, _GRANTED if code is SocksReply.SUCCEEDED else _REJECTED, *_NO_ADDRESS))
        return bytes((5, code, 0, _IPV4, *_NO_ADDRESS))

    def _read_version(self) -> SocksEvent:
        if not self._buffer:
            return _NEED_MORE
        if self._buffer[0] == 4:
            return self._begin_4()
        if self._buffer[0] != 5 or "socks5" not in self._protocols:
            return self._refuse(_NO_METHOD_REPLY, "the protocol is not SOCKS 5")
        self._step = SocksServer._read_methods
        return self._step(self)

    def _begin_4(self) -> SocksEvent:
        self._version = 4
        if "socks4" not in self._protocols:
            return self._refuse(self.reply(SocksReply.GENERAL), "SOCKS 4 is not spoken here")
        if self._auth:
            return self._refuse(self.reply(SocksReply.GENERAL), "SOCKS 4 has no login", unauthorized=True)
        self._step = SocksServer._read_request_4
        return self._step(self)

    def _read_methods(self) -> SocksEvent:
        """Read ``5, count, methods``."""
        buffer = self._buffer
        if len(buffer) < 2 or len(buffer) < 2 + buffer[1]:
            return _NEED_MORE
        methods = self._take(2 + buffer[1])[2:]
        wanted = _PASSWORD if self._auth else _NO_LOGIN
        if wanted not in methods:
            why = "the client offers no login" if self._auth else "the client wants to log in"
            return self._refuse(_NO_METHOD_REPLY, why, unauthorized=self._auth)
        self._step = SocksServer._read_login if self._auth else SocksServer._read_request
        return SocksSend(bytes((5, wanted)))

    def _read_login(self) -> SocksEvent:
        """Read ``1, length, user, length, password``."""
        buffer = self._buffer
        if buffer and buffer[0] != 1:
            return self._refuse(b"\x01\x01", "the login is malformed")
        if len(buffer) < 2 or len(buffer) <= (user_end := 2 + buffer[1]):
            return _NEED_MORE
        end = user_end + 1 + buffer[user_end]
        if len(buffer) < end:
            return _NEED_MORE
        message = self._take(end)
        self._step = _wait
        return SocksLogin(message[2:user_end], message[user_end + 1 :])

    def _read_request(self) -> SocksEvent:
        """Read ``5, command, 0, kind of address, address, port``."""
        buffer = self._buffer
        if buffer and buffer[0] != 5:
            return self._refuse(self.reply(SocksReply.GENERAL), "the request is malformed")
        if len(buffer) < 5:
            return _NEED_MORE
        kind = buffer[3]
        if kind != _NAME and kind not in _ADDRESS_BYTES:
            return self._refuse(self.reply(SocksReply.ADDRESS_TYPE_NOT_SUPPORTED), "the kind of address is unknown")
        size = 1 + buffer[4] if kind == _NAME else _ADDRESS_BYTES[kind]
        if len(buffer) < 4 + size + 2:
            return _NEED_MORE
        message = self._take(4 + size + 2)
        named = kind == _NAME
        return self._request(message[1], message[5 if named else 4 : -2], message[-2:], named=named)

    def _read_request_4(self) -> SocksEvent:
        """Read ``4, command, port, address, user, 0``; version 4a: address ``0.0.0.1``, and ``name, 0`` behind it."""
        buffer = self._buffer
        named = buffer[4:7] == bytes(3) and buffer[7:8] != bytes(1)
        end = user_end = self._end_of_text(8)
        if named and user_end > 0:
            end = self._end_of_text(user_end + 1)
        if end == _TOO_LONG:
            return self._refuse(self.reply(SocksReply.GENERAL), "the request is too long")
        if end == _NOT_YET:
            return _NEED_MORE
        message = self._take(end + 1)
        host = message[user_end + 1 : -1] if named else message[4:8]
        return self._request(message[1], host, message[2:4], named=named)

    def _end_of_text(self, start: int) -> int:
        """Return where the 0 behind a text is, or a constant if there is none."""
        last = start + _LONGEST_TEXT
        end = self._buffer.find(0, start, last + 1)
        return end if end >= 0 else _TOO_LONG if len(self._buffer) > last else _NOT_YET

    def _request(self, command: int, host: bytes, port: bytes, *, named: bool) -> SocksEvent:
        if command != _CONNECT:
            return self._refuse(self.reply(SocksReply.COMMAND_NOT_SUPPORTED), "the command is not CONNECT")
        try:
            target = _target(host, port, named)
        except MalformedError as error:
            return self._refuse(self.reply(SocksReply.GENERAL), str(error))
        self._step = _wait
        return SocksRequest(self._version, target, self._take(len(self._buffer)))

    def _take(self, size: int) -> bytes:
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _refuse(self, data: bytes, why: str, *, unauthorized: bool = False) -> SocksRefused:
        """End the negotiation."""
        refused = SocksRefused(data, why, unauthorized)
        self._step = lambda _: refused
        return refused


def _wait(_: SocksServer) -> SocksEvent:
    """It is the caller's turn."""
    return _NEED_MORE


@functools.lru_cache(SEEN_TARGETS)
def _target(host: bytes, port_bytes: bytes, named: bool) -> ForwardTarget:
    """Return the target of a name, or of the bytes of an address. Raises MalformedError."""
    port = int.from_bytes(port_bytes, "big")
    return target_of_name(host, port) if named else target_of_address(ip_address(host), port)
