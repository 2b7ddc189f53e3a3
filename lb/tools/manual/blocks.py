"""The parts of a page, read from Markdown: headings, paragraphs, lists, entries of tables, code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import attrs
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

__all__ = ["Block", "Bullet", "Code", "Heading", "Paragraph", "Span", "TableRow", "Text", "blocks_of", "words"]

_NO_REMARK = ("", "\N{EN DASH}")
"""Cells that say nothing."""


class Span(NamedTuple):
    text: str
    face: Literal["plain", "bold", "italic"] = "plain"


Text: TypeAlias = tuple[Span, ...]


@attrs.frozen
class Heading:
    level: int
    """2 for a section, more for parts of it."""
    text: Text


@attrs.frozen
class Paragraph:
    text: Text


@attrs.frozen
class Bullet:
    text: Text
    number: int = 0
    """0 in a list without numbers."""


@attrs.frozen
class TableRow:
    """A row of a table: what it is about, a remark beside that, and what there is to say."""

    term: Text
    remark: Text
    body: tuple[Text, ...]


@attrs.frozen
class Code:
    lines: tuple[str, ...]


Block: TypeAlias = Heading | Paragraph | Bullet | TableRow | Code


def words(text: str) -> Text:
    """Return a text without any marks."""
    return (Span(text),)


def blocks_of(markdown: str) -> list[Block]:
    """Return the parts of a page of docs/reference."""
    return list(_blocks(SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(markdown))))


def _blocks(node: SyntaxTreeNode) -> Iterator[Block]:
    for child in node.children:
        match child.type:
            case "heading":
                yield Heading(int(child.tag[1:]), _text(child))
            case "paragraph":
                if text := _text(child):
                    yield Paragraph(text)
            case "fence" | "code_block":
                yield Code(tuple(child.content.rstrip("\n").split("\n")))
            case "bullet_list" | "ordered_list":
                yield from _items(child)
            case "table":
                yield from _entries(child)


def _items(node: SyntaxTreeNode) -> Iterator[Block]:
    for number, item in enumerate(node.children, 1):
        first, *others = item.children
        yield Bullet(_text(first), number if node.type == "ordered_list" else 0)
        for other in others:
            yield from _blocks(other)


def _entries(node: SyntaxTreeNode) -> Iterator[TableRow]:
    """Yield the rows of a table. The columns type and default are a remark; others have their heading before them."""
    (header,), body = node.children[0].children, node.children[1:]
    titles = ["".join(span.text for span in _text(cell)) for cell in header.children]
    for row in (row for each in body for row in each.children):
        term, *cells = (_text(cell) for cell in row.children)
        named = [(title, cell) for title, cell in zip(titles[1:], cells, strict=True) if _says_something(cell)]
        remark = [_remark(title, cell) for title, cell in named if title in ("type", "default")]
        rest = [(title, cell) for title, cell in named if title not in ("type", "default")]
        told = [cell if title in _OBVIOUS or len(titles) == 2 else _titled(title, cell) for title, cell in rest]
        yield TableRow(term, _joined(remark), tuple(told))


_OBVIOUS = ("meaning", "does", "", "effect", "tells the servers")
"""Headings of columns that nobody needs to read."""


def _remark(title: str, cell: Text) -> Text:
    return cell if title == "type" else _titled("default", cell)


def _titled(title: str, cell: Text) -> Text:
    return (Span(f"{title[:1].upper()}{title[1:]}: " if title != "default" else "default "), *cell)


def _joined(parts: Sequence[Text]) -> Text:
    return tuple(span for number, part in enumerate(parts) for span in (*((Span("; "),) if number else ()), *part))


def _says_something(cell: Text) -> bool:
    return "".join(span.text for span in cell) not in _NO_REMARK


def _text(node: SyntaxTreeNode) -> Text:
    return tuple(_spans(node.children[0].children)) if node.children else ()


def _spans(nodes: Sequence[SyntaxTreeNode]) -> Iterator[Span]:
    for node in nodes:
        match node.type:
            case "text":
                yield Span(node.content)
            case "code_inline":
                yield Span(node.content, "bold")
            case "softbreak":
                yield Span(" ")
            case "strong" | "em":
                inside = "".join(span.text for span in _spans(node.children))
                yield Span(inside, "bold" if node.type == "strong" else "italic")
            case "link":
                yield from _spans(node.children)
                target = str(node.attrs["href"])
                yield from [Span(f" <{target}>")] if "://" in target else []
