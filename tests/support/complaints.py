"""Errors of a file as tests compare them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from lb.config.load import ConfigError, parse

__all__ = ["complaints", "path_and_message"]


def complaints(text: str, file: Path | str = "lb.toml") -> list[str]:
    """Return the errors of a configuration that has some."""
    with pytest.raises(ConfigError) as caught:
        parse(text, str(file))
    return path_and_message(caught.value.errors, file)


def path_and_message(errors: Iterable[str], file: Path | str) -> list[str]:
    """Return errors without the file's name, which each begins with, and without the line at their end."""
    found = list(errors)
    assert all(error.startswith(f"{file}: ") for error in found)
    return [re.sub(r" \(line [0-9]+\)$", "", error.removeprefix(f"{file}: ")) for error in found]
