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
    "ONCE",
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
ONCE = HOST | FRAMING | AUTHORIZATION
"""Fields that a head may have once at most."""
PROTECTED = frozenset((b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie"))
"""Names that Connection must not name: without them, the message would have another meaning."""
_NOT_IN_TRAILERS = frozenset(
    (b"content-encoding", b"content-range", b"content-type", b"set-cookie", b"trailer", b"www-authenticate")
)
"""Names that a trailer must not have (RFC 9110, section 6.5.1), beside those with a meaning of this module."""

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
    b"forwarded": FORWARDED,
    b"x-real-ip": FORWARDED,
    b"x-request-id": FORWARDED,
}
_FORWARDED_PREFIX = b"x-forwarded-"
_SIZE = 300
"""Bytes of the objects of a field, without its text."""


@attrs.define
class Field:
    """One line. ``name`` is in lower case; ``line`` is the line as it came, without its CRLF.

    Nobody changes it. It is not frozen, as that would make a new line cost a third more.
    """

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
    def written_name(self) -> bytes:
        """The name as it came."""
        return self.line[: len(self.name)]

    @property
    def wire(self) -> bytes:
        """The line to pass on, with its CRLF: the name as it came, and the value without white space around it."""
        return b"%s: %s\r\n" % (self.written_name, self.line[len(self.name) + 1 :].strip(b" \t"))

    @property
    def may_trail(self) -> bool:
        """False for what a trailer must not say: framing, routing, authentication, the kind of the content."""
        return not self.meaning and self.name not in _NOT_IN_TRAILERS

    @property
    def memory(self) -> int:
        """About how many bytes it takes."""
        return _SIZE + 2 * len(self.line)


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
    meaning = _MEANINGS.get(name)
    if meaning is None:
        return Field(name, value, line, _meaning_of_unknown(name))
    special = _SPECIAL.get(meaning)
    if special is None:
        return Field(name, value, line, meaning)
    if b"\t" in line and meaning != CONNECTION:
        raise MalformedError("a tab beside a value that not everyone finds there")
    return special(name, value, line)


def _meaning_of_unknown(name: bytes) -> int:
    """Return the meaning of a name that is not in the table.

    CGI's spelling is known too: for such programs ``X_Forwarded_For`` is X-Forwarded-For. In that spelling, nothing
    with another meaning passes.
    """
    if name.startswith(_FORWARDED_PREFIX):
        return FORWARDED
    if b"_" not in name:
        return 0
    other = name.replace(b"_", b"-")
    meaning = _MEANINGS.get(other) or _meaning_of_unknown(other)
    return meaning if meaning in (0, FORWARDED) else HOP_BY_HOP


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
