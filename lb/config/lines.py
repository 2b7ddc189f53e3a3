"""The lines of the keys in a TOML text, for messages. Made only when there is something to report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import attrs
import tomli

from lb.model.table import join

__all__ = ["key_lines", "line_of"]

_TOKEN = re.compile(
    r"""
      (?P<string> \"{3} (?: \\. | [^\\] )*? \"{3} \"{0,2}
                | '{3} .*? '{3} '{0,2}
                | " (?: \\. | [^"\\\n] )* "
                | ' [^'\n]* ' )
    | (?P<mark> [\[\]{}=,.\n] )
    | (?P<bare> [^\s"'\[\]{}=,.\#]+ )
    | (?P<comment> \#[^\n]* )
    """,
    re.VERBOSE | re.DOTALL,
)


_CLOSING = {"[": "]", "{": "}"}


class _Token(NamedTuple):
    text: str
    word: bool
    """Whether it is a string, or a bare key or value."""
    line: int


@attrs.define
class _Open:
    """A table or an array whose end has not been read: the document, the table of a header, ``{ … }``, ``[ … ]``."""

    path: str
    closing: str = ""
    value: str | None = None
    """The path of the value that is being read; None before its key, or in an array before the value itself."""
    index: int = 0
    """In an array, the position of that value."""
    key: list[str] = attrs.field(factory=list)

    def next(self) -> None:
        self.value = None
        self.index += 1
        self.key.clear()


def key_lines(text: str) -> dict[str, int]:
    """Return the line, from 1, of each key and each item of an array, by path: ``pools.web.servers[1].weight``.

    The text must be valid TOML.
    """
    lines: dict[str, int] = {}
    arrays: dict[str, int] = {}
    """Arrays of tables by path, with the number of their tables so far."""
    document = _Open("")
    stack = [document]
    tokens = _tokens(text)
    for token in tokens:
        top = stack[-1]
        if token.text == top.closing:
            stack.pop()
        elif token.text == "," or (token.text == "\n" and top is document):
            top.next()
        elif top.closing == "]" or top.value is not None:
            _read_value(token, stack, lines)
        elif token.word:
            top.key.append(_decoded(token.text))
        elif token.text == "=":
            top.value = _below(top.path, top.key, token.line, lines)
        elif token.text == "[":
            document.path = _header(tokens, token.line, lines, arrays)
    return lines


def _read_value(token: _Token, stack: list[_Open], lines: dict[str, int]) -> None:
    """Note the line of an array's item where it begins, and open a nested array or table."""
    top = stack[-1]
    if token.text == "\n":
        return
    if top.value is None:
        top.value = f"{top.path}[{top.index}]"
        lines[top.value] = token.line
    if token.text in _CLOSING:
        stack.append(_Open(top.value, _CLOSING[token.text]))


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        found = match[0]
        if match.lastgroup != "comment":
            yield _Token(found, match.lastgroup != "mark", line)
        line += found.count("\n")


def _decoded(word: str) -> str:
    return str(tomli.loads(f"key = {word}")["key"]) if word[0] in "\"'" else word


def _below(path: str, key: list[str], line: int, lines: dict[str, int]) -> str:
    """Note the line of a dotted key, and of the tables that it implies; return its path."""
    for part in key:
        path = join(path, part)
        lines.setdefault(path, line)
    lines[path] = line
    return path


def _header(tokens: Iterator[_Token], line: int, lines: dict[str, int], arrays: dict[str, int]) -> str:
    """Read ``[table]`` or ``[[array of tables]]`` after its first bracket; return the path of the table."""
    words: list[str] = []
    of_array = False
    for token in tokens:
        if token.text == "]":
            break
        if token.word:
            words.append(_decoded(token.text))
        elif token.text == "[":
            of_array = True
    path = ""
    for word in words[:-1]:
        path = join(path, word)
        lines.setdefault(path, line)
        if path in arrays:  # its last table
            path = f"{path}[{arrays[path] - 1}]"
    path = join(path, words[-1])
    if of_array:
        lines.setdefault(path, line)
        arrays[path] = arrays.get(path, 0) + 1
        path = f"{path}[{arrays[path] - 1}]"
    lines[path] = line
    return path


def line_of(path: str, lines: dict[str, int]) -> int | None:
    """Return the line of a path, or of the innermost table around it that the file has; None if it has none."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)
