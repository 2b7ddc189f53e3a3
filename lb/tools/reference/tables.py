"""The tables of the reference: what its pages say of each key, event, command."""

from __future__ import annotations

import re
from importlib.resources import files

__all__ = ["literal", "page", "plain_text", "rows", "section"]

_LINK = re.compile(r"\[((?:`[^`]*`|[^\]`])*)\]\([^)]*\)")
_FIRST_CELL = "| `"


def page(name: str) -> str:
    """Return the Markdown of a page of docs/reference, such as ``configuration.md``."""
    return (files("lb.tools.reference") / "pages" / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """Return the text below a heading of a page, up to the next heading. Raises LookupError if there is none."""
    _, found, rest = page(name).partition(f"\n{heading}\n")
    if not found:
        raise LookupError(f"docs/reference/{name} has no heading {heading!r}")
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of tables: the first cell without backticks, and the other cells."""
    lines = (line for line in text.splitlines() if line.startswith(_FIRST_CELL))
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first.strip("`| "): rest for first, *rest in cells}


def literal(cell: str) -> str | None:
    """Return the TOML value that a cell is; None if it is prose."""
    found = re.fullmatch(r"`(.+)`", cell)
    return found[1] if found else None


def plain_text(markdown: str) -> str:
    """Return Markdown of one line without its links, whose text stays."""
    return _LINK.sub(r"\1", markdown).replace(r"\|", "|").strip()
