"""Texts about words of a format, by patterns of words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["text_about"]


def text_about(word: str, texts: Mapping[str, str]) -> str | None:
    """Return the text of the first pattern that a word as a whole matches; None if there is none."""
    return next((text for pattern, text in texts.items() if re.fullmatch(pattern, word)), None)
