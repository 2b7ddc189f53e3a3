"""Keys of stored responses, made of requests by a template: ``{scheme}{host}{uri}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from lb.model.purge import PurgedUrl
from lb.model.request import Request
from lb.model.suggestion import did_you_mean

__all__ = ["CachedRequest", "KeyTemplate"]

_SEPARATOR = b"\n"
"""Stands between two values. No value holds it, so two requests have the same key only if all values are the same.

Without it, ``http`` and ``sexample.com`` would make the key of ``https`` and ``example.com``.
"""
_ANY = rb"[^\n]*"
"""Matches any value."""
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VARIABLE = re.compile(rf"\{{(?:([a-z]+)|(header|cookie|argument):({_NAME}))\}}")


class CachedRequest(Request, Protocol):
    """A request, as the cache sees it."""

    @property
    def method(self) -> bytes: ...

    def values(self, name: bytes, /) -> Sequence[bytes]:
        """Return the values of all fields of this name, which is in lower case."""


_Value: TypeAlias = Callable[[bytes, CachedRequest], bytes]
"""From the scheme and the request."""

_VALUES: Mapping[str, _Value] = {
    "scheme": lambda scheme, _: scheme,
    "host": lambda _, request: request.host,
    "uri": lambda _, request: request.uri,
    "path": lambda _, request: request.uri.partition(b"?")[0],
    "query": lambda _, request: request.uri.partition(b"?")[2],
    "method": lambda _, request: b"HEAD" if request.method == b"HEAD" else b"GET",
}
_NAMES = (*_VALUES, "argument:NAME", "header:NAME", "cookie:NAME")


class KeyTemplate:
    """The key of a route's requests, read once. Raises ValueError for a text that is no template.

    ``{host}`` has the port if the request names one; ``{uri}``, ``{path}`` and ``{query}`` are as sent, and
    ``{argument:NAME}`` is of the query. ``{method}`` is GET for all methods but HEAD, so that PURGE and POST find what
    GET has stored. A field, a cookie or an argument that is missing is as an empty one.
    """

    def __init__(self, text: str) -> None:
        self._parts: list[bytes | _Value] = []
        self._words: list[bytes | str] = []
        """The parts by name: a text, the name of a value of the URL, or none for what else a request says."""
        end = 0
        for match in _VARIABLE.finditer(text):
            self._add_text(text[end : match.start()])
            self._add_value(match)
            end = match.end()
        self._add_text(text[end:])
        if not end:
            raise ValueError("must hold a variable like {uri}, or all requests would get the same response")

    def __call__(self, scheme: bytes, request: CachedRequest) -> bytes:
        """Return the key of a request. ``scheme`` is ``http`` or ``https``."""
        return b"".join([part if isinstance(part, bytes) else part(scheme, request) for part in self._parts])

    def pattern(self, url: PurgedUrl, *, is_prefix: bool) -> bytes:
        """Return a regular expression for the keys of a URL, or of all that begin so.

        It matches whatever fields, cookies and methods are in them.
        """
        path, mark, query = map(re.escape, url.uri.partition(b"?"))
        rest = _ANY if is_prefix else b""
        values = {
            "scheme": url.scheme,
            "host": re.escape(url.host) + (b"(?::80)?" if url.scheme == b"http" else b"(?::443)?"),
            "uri": path + mark + query + rest,
            "path": path if mark else path + rest,
            "query": query + rest,
        }
        words = [re.escape(word) if isinstance(word, bytes) else values.get(word, _ANY) for word in self._words]
        return b"".join(words)

    def _add_text(self, text: str) -> None:
        if not text.isprintable():
            raise ValueError("must not hold control characters")
        for braces in re.finditer(r"\{([^}]*)(\}?)", text):
            raise _unknown(braces[1]) if braces[2] else ValueError("has a '{' without a '}'")
        if text:
            self._parts.append(text.encode())
            self._words.append(text.encode())

    def _add_value(self, match: re.Match[str]) -> None:
        word, kind, name = match.groups()
        if word is not None and word not in _VALUES:
            raise _unknown(word)
        if any(not isinstance(part, bytes) for part in self._parts):
            self._parts.append(_SEPARATOR)
            self._words.append(_SEPARATOR)
        self._words.append(word or "")
        self._parts.append(_VALUES[word] if word is not None else _named(kind, name.encode()))


def _named(kind: str, name: bytes) -> _Value:
    if kind == "header":
        return lambda _, request: request.header(name) or b""
    if kind == "argument":
        return lambda _, request: request.query(name) or b""
    return lambda _, request: request.cookie(name) or b""


def _unknown(word: str) -> ValueError:
    known = ", ".join(f"{{{each}}}" for each in _NAMES)
    return ValueError(f"there is no variable {{{word}}} here{did_you_mean(word, _NAMES)}; known: {known}")
