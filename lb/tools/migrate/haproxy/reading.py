"""Read haproxy.cfg as a tree of directives: sections, and the lines in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lb.tools.migrate.files import configuration_text
from lb.tools.migrate.formats import UnreadableError
from lb.tools.migrate.migration import Directive

__all__ = ["read_haproxy"]

_SECTIONS = {
    *("global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "resolvers", "mailers", "program"),
    *("cache", "http-errors", "ring", "fcgi-app", "log-forward", "crt-store", "traces", "acme", "log-profile"),
}
_FAMILIES = {
    *("timeout", "option", "tcp-request", "tcp-response"),
    *("http-check", "tcp-check", "stats", "stick", "compression", "monitor", "load-server-state-from-file", "hold"),
}
"""Words that mean something only together with the next one."""
_ESCAPES: Mapping[str, str] = {"n": "\n", "r": "\r", "t": "\t"}


def read_haproxy(path: Path) -> Directive:
    """Return the file as a block without a name. Raises UnreadableError."""
    text = configuration_text(path)
    sections: list[tuple[list[str], int, list[Directive]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = list(_words(line))
        except ValueError as error:
            raise UnreadableError(f"{path}:{number}: {error}") from error
        if not words or words[0].startswith("."):
            continue
        if words[0] in _SECTIONS and (line[:1].strip() or not sections):
            sections.append((words, number, []))
        elif not sections:
            raise UnreadableError(f"{path}:{number}: {words[0]} is in no section")
        else:
            sections[-1][2].append(_directive(_without_secrets(words, sections[-1][0][0]), path.name, number))
    blocks = [
        Directive(words[0], tuple(words[1:]), path.name, number, tuple(inner)) for words, number, inner in sections
    ]
    return Directive("", (), path.name, 0, tuple(blocks))


def _without_secrets(words: list[str], section: str) -> list[str]:
    """Return the words of a line without passwords: directives are shown in comments and messages."""
    if section == "userlist" and words[0] == "user":
        at = next((number for number, each in enumerate(words) if each.endswith("password")), len(words))
        return [*words[: at + 1], *(["(hidden)"] if at < len(words) else []), *words[at + 2 :]]
    return [*words[:2], "(hidden)"] if words[:2] == ["stats", "auth"] else words


def _directive(words: list[str], file: str, number: int) -> Directive:
    """Return a line. The name of one of a family is two words, and that of a negated one begins with ``no``."""
    length = 1 + (words[0] in ("no", "default"))
    if len(words) > length and words[length - 1] in _FAMILIES:
        length += 1
    return Directive(" ".join(words[:length]), tuple(words[length:]), file, number)


def _words(line: str) -> Iterator[str]:
    """Yield the words of a line, without quotes and escapes. Raises ValueError."""
    word: str | None = None
    position, quote = 0, ""
    while position < len(line):
        letter = line[position]
        if letter == "\\" and quote != "'":
            text, length = _escape(line[position + 1 : position + 4], quote)
            word, position = (word or "") + text, position + 1 + length
            continue
        position += 1
        if quote:
            quote, word = ("", word) if letter == quote else (quote, (word or "") + letter)
        elif letter in "\"'":
            quote, word = letter, word or ""
        elif letter == "#":
            break
        elif letter.isspace():
            if word is not None:
                yield word
            word = None
        else:
            word = (word or "") + letter
    if quote:
        raise ValueError(f"{quote} without its end")
    if word is not None:
        yield word


def _escape(rest: str, quote: str) -> tuple[str, int]:
    """Return what a backslash and what follows it stand for, and how many characters follow it."""
    if rest[:1] in _ESCAPES:
        return _ESCAPES[rest[0]], 1
    if re.fullmatch(r"x[0-9a-fA-F]{2}", rest):
        return chr(int(rest[1:], 16)), 3
    return (rest[0], 1) if rest[:1] in (" ", "#", "\\", '"', "'") or (quote and rest[:1] == "$") else ("\\", 0)
