"""A page as plain text, for a machine without man and for pipes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from lb.tools.manual.blocks import Block, Bullet, Code, Heading, Paragraph, TableRow, Text

__all__ = ["plain_page"]

_WIDTH = 78
_INDENT = " " * 7
"""As man pages have it."""


def plain_page(blocks: Iterable[Block]) -> str:
    """Return the lines of a page, the last one without a newline."""
    return "\n".join(line.rstrip() for block in blocks for line in _lines(block)).strip("\n")


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Heading(level, text):
            yield from ("", _plain(text).upper() if level == 2 else f"   {_plain(text)}")
        case Paragraph(text):
            yield from ("", *_filled(_plain(text), _INDENT))
        case Bullet(text, number):
            mark = f"{number}. " if number else "- "
            yield from _filled(_plain(text), _INDENT + mark, _INDENT + " " * len(mark))
        case TableRow(term, remark, body):
            yield from ("", *_filled(_plain(term) + (f" ({_plain(remark)})" if remark else ""), _INDENT))
            for each in body:
                yield from _filled(_plain(each), f"{_INDENT}    ")
        case Code(lines):
            yield from ("", *(f"{_INDENT}    {line}" for line in lines))


def _plain(text: Text) -> str:
    return "".join(span.text for span in text)


def _filled(text: str, first: str, others: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=first if others is None else others,
        break_long_words=False,
        break_on_hyphens=False,
    )
