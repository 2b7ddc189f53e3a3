"""A field line of a head: its name, its value, and what it means for the message that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from lb.http1.grammar import TOKEN_BYTES, VALUE_BYTES, MalformedError, is_host, number

__all__ = [
    "AUTHORIZATION",
    "CHUNKED",
    "CONDITION",
    "CONNECTION",
    "COOKIE",
    "EXPECT",
    "FORWARDED",
    "FRAMING",
    "HOP_BY_HOP",
    "HOST",
    "LENGTH",
    "PROTECTED",
    "UPGRADE",
    "Field",
    "meaning_of",
    "read_field",
]

HOST, CONNECTION, LENGTH, CHUNKED, HOP_BY_HOP, UPGRADE, EXPECT, AUTHORIZATION, COOKIE, FORWARDED, CONDITION = (
    1 << bit for bit in range(11)
)
"""Meanings of fields, as bits. HOP_BY_HOP stands for those that no other bit is for.

FORWARDED: what a proxy tells of its client. Only trusted proxies are believed.
"""
FRAMING = LENGTH | CHUNKED
_ONCE = HOST | FRAMING | AUTHORIZATION
"""Fields that a head may have once at most."""
PROTECTED = frozenset((b"host", b"content-length", b"transfer-encoding"))
"""Names that Connection must not name: without them, the message would have another meaning."""

_MEANINGS: Mapping[bytes, int] = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": CHUNKED,
    b"keep-alive": HOP_BY_HOP,
    b"proxy-connection": HOP_BY_HOP,
    b"proxy-authenticate": HOP_BY_HOP,
    b"proxy-authorization": HOP_BY_HOP,
    b"te": HOP_BY_HOP,
    b"trailer": 0,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"authorization": AUTHORIZATION,
    b"cookie": COOKIE,
    b"if-match": CONDITION,
    b"if-none-match": CONDITION,
    b"if-modified-since": CONDITION,
    b"if-unmodified-since": CONDITION,
    b"if-range": CONDITION,
    b"range": CONDITION,
}
_FORWARDED_NAMES = (b"forwarded", b"x-real-ip", b"x-request-id")


@attrs.frozen
class Field:
    """One line. ``name`` is in lower case; ``line`` is the line as it came, without its CRLF."""

    name: bytes
    value: bytes
    line: bytes
    meaning: int = 0
    """Bits of this module; 0 for most fields."""
    size: int = 0
    """The body's bytes that a Content-Length says."""
    options: frozenset[bytes] = frozenset()
    """The names that Connection lists, in lower case."""

    @property
    def wire(self) -> bytes:
        """The line to pass on, with its CRLF: the name as it came, and the value without white space around it."""
        return b"%s: %s\r\n" % (self.line[: len(self.name)], self.line[len(self.name) + 1 :].strip(b" \t"))

    @property
    def once(self) -> int:
        """The bits of ``meaning`` that must not come again in the same head."""
        return self.meaning & _ONCE


def meaning_of(name: bytes) -> int:
    """Return the bits of a field of this name, in any case."""
    return _MEANINGS.get(name.lower(), 0)


def read_field(line: bytes) -> Field:
    """Judge one line on its own. Raises MalformedError.

    A line that begins with white space would continue the line before it (obs-fold): it has no valid name.
    """
    name, colon, value = line.partition(b":")
    if not colon or not name or name.translate(None, TOKEN_BYTES):
        raise MalformedError("a header's name is not a token")
    if value.translate(None, VALUE_BYTES):
        raise MalformedError("a header's value has a control character")
    name, value = name.lower(), value.strip(b" \t")
    meaning = _MEANINGS.get(name) or _forwarded(name)
    special = _SPECIAL.get(meaning)
    return special(name, value, line) if special is not None else Field(name, value, line, meaning)


def _forwarded(name: bytes) -> int:
    """Return FORWARDED for what a proxy tells of its client, also with the underscores that CGI takes for hyphens."""
    name = name.replace(b"_", b"-")
    return FORWARDED if name.startswith(b"x-forwarded-") or name in _FORWARDED_NAMES else 0


def _host(name: bytes, value: bytes, line: bytes) -> Field:
    if not is_host(value):
        raise MalformedError("Host is not a host")
    return Field(name, value.lower(), line, HOST)


def _length(name: bytes, value: bytes, line: bytes) -> Field:
    return Field(name, value, line, LENGTH, size=number(value))


def _encoding(name: bytes, value: bytes, line: bytes) -> Field:
    if value.lower() != b"chunked":
        raise MalformedError("Transfer-Encoding is not chunked")
    return Field(name, value, line, CHUNKED)


def _connection(name: bytes, value: bytes, line: bytes) -> Field:
    options = frozenset(option.strip(b" \t") for option in value.lower().split(b",")) - {b""}
    if options & PROTECTED or any(option.translate(None, TOKEN_BYTES) for option in options):
        raise MalformedError("Connection names what it must not")
    return Field(name, value, line, CONNECTION, options=options)


_SPECIAL: Mapping[int, Callable[[bytes, bytes, bytes], Field]] = {
    HOST: _host,
    LENGTH: _length,
    CHUNKED: _encoding,
    CONNECTION: _connection,
}
