"""What belongs to a name that a client has asked for, where some are wildcards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["find"]

T = TypeVar("T")


def find(known: Mapping[str, T], name: str) -> T | None:
    """What belongs to this name: its own, or that of the longest wildcard that it ends with."""
    found = known.get(name)
    while found is None and name:
        _, _, name = name.partition(".")
        found = known.get(f"*.{name}")
    return found
