"""Errors of a file as tests compare them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["path_and_message"]


def path_and_message(errors: Iterable[str], file: Path | str) -> list[str]:
    """Return errors without the file's name, which each begins with, and without the line at their end."""
    found = list(errors)
    assert all(error.startswith(f"{file}: ") for error in found)
    return [re.sub(r" \(line [0-9]+\)$", "", error.removeprefix(f"{file}: ")) for error in found]
