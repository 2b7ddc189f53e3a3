"""What all events are. A part of :mod:`lb.events`, from where everybody takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, TypeAlias

__all__ = ["Event", "Level", "Sink"]

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Event:
    """Base of all events."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]
    """The names of its fields."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"


Sink: TypeAlias = Callable[[Event], None]
