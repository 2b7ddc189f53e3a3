"""One field of a message of HTTP/2, judged on its own (RFC 9113, section 8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum

import attrs

from lb.http1.grammar import TOKEN_BYTES, VALUE_BYTES, MalformedError, is_host, number
from lb.http2.urgency import read_urgency

__all__ = ["ENTRY_OVERHEAD", "FieldKind", "HpackField", "judge_field"]

ENTRY_OVERHEAD = 32
"""Bytes that each field counts beside its text: RFC 7541, section 4.1."""

_NAME_BYTES = bytes(byte for byte in TOKEN_BYTES if not 0x41 <= byte <= 0x5A)
_TARGET_BYTES = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
_SCHEME_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789+-."
_BLANKS = b" \t"
_SIZE = 150
"""Bytes of the objects of a field, without its text."""


class FieldKind(IntEnum):
    """What a field means for the message."""

    REGULAR = 0
    HOST = 1
    COOKIE = 2
    LENGTH = 3
    PRIORITY = 4
    METHOD = 5
    SCHEME = 6
    AUTHORITY = 7
    PATH = 8
    PROTOCOL = 9
    STATUS = 10
    MALFORMED = 11
    """It makes its message malformed."""


@attrs.define(eq=False)
class HpackField:
    """A name and a value, as HPACK's tables hold them. Nobody changes it."""

    pair: tuple[bytes, bytes]
    size: int
    """Bytes in a table, or in a header list."""
    kind: FieldKind = FieldKind.REGULAR
    number: int = 0
    """The value of a Content-Length, a status, or an urgency."""
    problem: str = ""
    """Why it is malformed."""

    @property
    def memory(self) -> int:
        """About how many bytes it takes."""
        return _SIZE + self.size


def judge_field(name: bytes, value: bytes) -> HpackField:
    """Return a field with what it means."""
    field = HpackField((name, value), len(name) + len(value) + ENTRY_OVERHEAD)
    try:
        field.kind, field.number = _meaning(name, value)
    except MalformedError as error:
        field.kind, field.problem = FieldKind.MALFORMED, str(error)
    return field


def _meaning(name: bytes, value: bytes) -> tuple[FieldKind, int]:
    if value and (value[0] in _BLANKS or value[-1] in _BLANKS or value.translate(None, VALUE_BYTES)):
        raise MalformedError("a field's value has a control character, or white space around it")
    special = _SPECIAL.get(name)
    if special is not None:
        return special(value)
    if not name or name.translate(None, _NAME_BYTES):
        raise MalformedError("a field's name is not a token in lower case")
    return FieldKind.REGULAR, 0


def _made_of(kind: FieldKind, allowed: bytes) -> Callable[[bytes], tuple[FieldKind, int]]:
    """Return a reader of values that have these bytes only, at least one."""

    def read(value: bytes) -> tuple[FieldKind, int]:
        if not value or value.translate(None, allowed):
            raise MalformedError("a pseudo-header's value has a character that it must not have")
        return kind, 0

    return read


def _host(kind: FieldKind) -> Callable[[bytes], tuple[FieldKind, int]]:
    def read(value: bytes) -> tuple[FieldKind, int]:
        if not is_host(value):
            raise MalformedError("the authority is not a host")
        return kind, 0

    return read


def _connection_specific(value: bytes) -> tuple[FieldKind, int]:
    raise MalformedError(f"a field of connections of HTTP/1: {value[:20]!r}")


def _te(value: bytes) -> tuple[FieldKind, int]:
    if value.lower() != b"trailers":
        raise MalformedError("TE says more than trailers")
    return FieldKind.REGULAR, 0


def _status(value: bytes) -> tuple[FieldKind, int]:
    if len(value) != 3 or not value.isdigit() or not b"100" <= value <= b"599" or value == b"101":
        raise MalformedError("the status is none of HTTP/2")
    return FieldKind.STATUS, int(value)


_SPECIAL: Mapping[bytes, Callable[[bytes], tuple[FieldKind, int]]] = {
    b":method": _made_of(FieldKind.METHOD, TOKEN_BYTES),
    b":scheme": _made_of(FieldKind.SCHEME, _SCHEME_BYTES),
    b":authority": _host(FieldKind.AUTHORITY),
    b":path": _made_of(FieldKind.PATH, _TARGET_BYTES),
    b":protocol": _made_of(FieldKind.PROTOCOL, TOKEN_BYTES),
    b":status": _status,
    b"host": _host(FieldKind.HOST),
    b"cookie": lambda _: (FieldKind.COOKIE, 0),
    b"content-length": lambda value: (FieldKind.LENGTH, number(value)),
    b"priority": lambda value: (FieldKind.PRIORITY, read_urgency(value)),
    b"te": _te,
    b"connection": _connection_specific,
    b"proxy-connection": _connection_specific,
    b"keep-alive": _connection_specific,
    b"transfer-encoding": _connection_specific,
    b"upgrade": _connection_specific,
}
