"""Text from outside as text for people."""

from __future__ import annotations

__all__ = ["printable", "shortened"]


def printable(value: object) -> str:
    """Escape what is not printable: line breaks, and characters that could control a terminal."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shortened(text: str, most: int) -> str:
    """Return a text with at most ``most`` characters. One that was longer ends with ``…``."""
    return text if len(text) <= most else text[: most - 1] + "…"
