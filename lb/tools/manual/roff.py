"""A page as roff with the macros of man(7), for groff and mandoc."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from lb.tools.manual.blocks import Block, Bullet, Code, Heading, Paragraph, TableRow, Text

__all__ = ["roff"]

_FACES = {"plain": "", "bold": "B", "italic": "I"}


def roff(name: str, section: int, source: str, blocks: Iterable[Block]) -> str:
    """Return the source of a man page. It has no date: the version in ``source`` says how old it is."""
    lines = [f'.TH "{_escaped(name.upper())}" "{section}" "" "{_escaped(source)}" "trio-lb"', ".nh", ".ad l"]
    before: Block | None = None
    for block in blocks:
        lines += _lines(block, first=isinstance(before, Heading))
        before = block
    return "\n".join(lines) + "\n"


def _lines(block: Block, *, first: bool) -> Iterator[str]:
    """Yield the lines of a block. ``first``: a heading stands before it, which has its own space."""
    match block:
        case Heading(level, text):
            yield f'.{"SH" if level == 2 else "SS"} "{_inline(text)}"'
        case Paragraph(text):
            yield from ([] if first else [".PP"])
            yield _line(text)
        case Bullet(text, number):
            yield from (f'.IP "{number}." 4' if number else r".IP \(bu 2", _line(text))
        case TableRow(term, remark, body):
            yield from (".TP", _line(term, *([_in_brackets(remark)] if remark else [])))
            yield from _between(".br", map(_line, body)) if body else ("",)
        case Code(text_lines):
            yield from ([] if first else [".sp"])
            yield from (".RS 4", ".nf", *map(_protected, map(_escaped, text_lines)), ".fi", ".RE")


def _between(separator: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield from (separator, line) if number else (line,)


def _in_brackets(text: Text) -> Text:
    first, *rest = text
    *_, last = text
    start = first._replace(text=f" ({first.text}") if first.face == "plain" else None
    opened = (start, *rest) if start else (first._replace(text=" (", face="plain"), *text)
    return (*opened, last._replace(text=")", face="plain"))


def _line(*texts: Text) -> str:
    return _protected("".join(map(_inline, texts)))


def _inline(text: Text) -> str:
    return "".join(
        rf"\f{_FACES[span.face]}{_escaped(span.text)}\fR" if _FACES[span.face] else _escaped(span.text) for span in text
    )


def _escaped(text: str) -> str:
    escaped = re.sub(r"""[\\\-"^~`']""", lambda found: _ESCAPES[found[0]], text)
    return escaped.replace("/", r"/\:") if "://" in text else escaped  # a URL may break at a slash


_ESCAPES = {"\\": r"\e", "-": r"\-", '"': r"\(dq", "^": r"\(ha", "~": r"\(ti", "`": r"\(ga", "'": r"\(aq"}
"""Characters that would become others, or end an argument: groff_char(7)."""


def _protected(line: str) -> str:
    """Return a line that is no request, whatever it begins with."""
    return rf"\&{line}" if line.startswith((".", "'")) else line
