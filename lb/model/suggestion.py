"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """The end of a message: ``, did you mean 'weight'?``, or nothing if no known name is close."""
    import difflib  # noqa: PLC0415 - for mistakes only

    close = difflib.get_close_matches(wrong, sorted(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
