"""The base of all events. Import it from :mod:`lb.events`."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, TypeAlias

__all__ = ["Event", "Level", "Observers", "Sink"]

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class Event:
    """Base of all events."""

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]
    """The names of the event's fields."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"


Sink: TypeAlias = Callable[[Event], None]


class Observers:
    """A sink that passes each event to other sinks."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        """Add a sink, unless it is already added."""
        if sink not in self._sinks:
            self._sinks.append(sink)

    def __call__(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)
