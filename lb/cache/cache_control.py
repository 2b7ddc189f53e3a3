"""Cache-Control of requests and responses (RFC 9111, section 5.2), and CDN-Cache-Control (RFC 9213)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence

__all__ = ["MAX_SECONDS", "NO_DIRECTIVES", "CacheControl", "cache_control", "delta_seconds", "targeted_cache_control"]

MAX_SECONDS = 2**31
"""The longest time in seconds. More is this (RFC 9111, section 1.2.2)."""

_SHORT = 100
"""Bytes of a line that is kept. The lines of a site are few."""
_QUOTED = rb'"(?:[^"\\]|\\.)*+"'
_BALANCED = re.compile(rb'(?:%b|[^"])*+' % _QUOTED)
_DIRECTIVE = re.compile(rb'(?:%b|[^",])++' % _QUOTED)
_ESCAPE = re.compile(rb"\\(.)")

_KEY = rb"[a-z*][a-z0-9_\-.*]*+"
_NUMBER = rb"-?[0-9]{1,15}(?:\.[0-9]{1,3})?"
_STRING = rb'"(?:[ !#-\[\]-~]|\\["\\])*+"'
_TOKEN = rb"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+"
_BYTES_OR_BOOLEAN = rb":[A-Za-z0-9+/=]*+:|\?[01]"
_BARE = rb"(?:" + b"|".join((_NUMBER, _STRING, _TOKEN, _BYTES_OR_BOOLEAN)) + rb")"
_PARAMETERS = rb"(?:; *" + _KEY + rb"(?:=" + _BARE + rb")?)*+"
_ITEM = _BARE + _PARAMETERS
_INNER_LIST = rb"\( *(?:" + _ITEM + rb"(?: +" + _ITEM + rb")*+)? *\)" + _PARAMETERS
_MEMBER = re.compile(rb"(" + _KEY + rb")(?:=(?:(" + _ITEM + rb")|" + _INNER_LIST + rb"))?" + _PARAMETERS)
_COMMA = re.compile(rb"[ \t]*,[ \t]*")
_INTEGER = re.compile(rb"(-?[0-9]+)(?:;.*)?")
_OF_SECONDS = (b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error")


class CacheControl:
    """Directives by name, in lower case. Where one is there twice or invalid, the answers are the strictest."""

    def __init__(self, directives: Iterable[tuple[bytes, bytes | None]] = ()) -> None:
        self._arguments: dict[bytes, list[bytes | None]] = {}
        for name, argument in directives:
            self._arguments.setdefault(name, []).append(argument)

    def __contains__(self, name: bytes) -> bool:
        return name in self._arguments

    def has_any(self, names: frozenset[bytes]) -> bool:
        return not names.isdisjoint(self._arguments)

    def seconds(self, name: bytes) -> int | None:
        """Return the shortest time of a directive; None if it is missing, 0 if it has no valid time."""
        arguments = self._arguments.get(name)
        if arguments is None:
            return None
        return min(delta_seconds(_unquoted(argument or b"")) or 0 for argument in arguments)

    def is_whole(self, name: bytes) -> bool:
        """Return whether ``no-cache`` or ``private`` is there for the whole response, not for fields that it names."""
        arguments = self._arguments.get(name)
        return arguments is not None and not all(map(_names, arguments))

    def fields(self, name: bytes) -> frozenset[bytes]:
        """Return the fields that ``no-cache`` or ``private`` name, in lower case."""
        return frozenset(field for argument in self._arguments.get(name, ()) for field in _names(argument))

    def has_argument(self, name: bytes) -> bool:
        return any(self._arguments.get(name, ()))


NO_DIRECTIVES = CacheControl()


def delta_seconds(digits: bytes) -> int | None:
    """Return a number of seconds, at most :data:`MAX_SECONDS`; None if it is none."""
    if not digits.isdigit():
        return None
    digits = digits.lstrip(b"0")
    return min(int(digits or b"0"), MAX_SECONDS) if len(digits) <= 10 else MAX_SECONDS


def cache_control(values: Sequence[bytes]) -> CacheControl:
    """Read the lines of Cache-Control. Never fails: what is no directive is none that anyone asks for.

    One short line, as most responses have it, is looked up if it comes again.
    """
    if not values:
        return NO_DIRECTIVES
    if len(values) == 1 and len(values[0]) <= _SHORT:
        return _read(values[0])
    return CacheControl(directive for value in values for directive in _directives(value))


@functools.lru_cache(maxsize=256)
def _read(value: bytes) -> CacheControl:
    return CacheControl(_directives(value))


def _directives(value: bytes) -> Iterable[tuple[bytes, bytes | None]]:
    is_quoted = b'"' in value and _BALANCED.fullmatch(value)  # a quote that does not end hides no directive
    for part in _DIRECTIVE.findall(value) if is_quoted else value.split(b","):
        name, _, argument = part.strip().partition(b"=")
        word = name.rstrip()
        yield word.lower(), argument if word == name else None  # white space before = makes it invalid


def _unquoted(argument: bytes) -> bytes:
    if len(argument) > 1 and argument[:1] == argument[-1:] == b'"':
        return _ESCAPE.sub(rb"\1", argument[1:-1])
    return argument


def _names(argument: bytes | None) -> list[bytes]:
    """Return the names of fields in an argument."""
    if argument is None:
        return []
    return [name.lower() for name in map(bytes.strip, _unquoted(argument).split(b",")) if name]


def targeted_cache_control(values: Sequence[bytes]) -> CacheControl | None:
    """Read the lines of CDN-Cache-Control. None if there is none that is valid: Cache-Control counts then.

    It is a dictionary (RFC 8941, section 3.2), and is ignored if it is malformed, empty, or has a time of another type.
    """
    text = b", ".join(values).strip(b" ")
    directives: dict[bytes, bytes | None] = {}
    at = 0
    while True:
        member = _MEMBER.match(text, at)
        if member is None:
            return None
        name, value = member[1], member[2]
        if name in _OF_SECONDS:
            integer = _INTEGER.fullmatch(value or b"")
            if integer is None:
                return None
            value = integer[1]
        directives.pop(name, None)  # the last one counts
        if value is None or not value.startswith(b"?0"):
            directives[name] = None if value is None or value.startswith(b"?1") else value
        if member.end() == len(text):
            return CacheControl(directives.items())
        comma = _COMMA.match(text, member.end())
        if comma is None:
            return None
        at = comma.end()
