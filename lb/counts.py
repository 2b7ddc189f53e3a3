"""How many leases or connections are held now."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Count", "LocalCount"]


class Count(Protocol):
    """A number that goes up and down. Several processes may count together; each changes its own part."""

    def add(self, number: int) -> None:
        """Count so many more, or less."""

    @property
    def total(self) -> int:
        """What all processes have counted."""


class LocalCount:
    """The count of a process that carries the traffic alone."""

    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> None:
        self.total += number
