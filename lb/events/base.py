"""The base of all events. Import it from :mod:`lb.events`."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, TypeAlias, TypeVar, dataclass_transform

import attrs

__all__ = ["Event", "Level", "Observers", "Sink", "frozen_event"]

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
E = TypeVar("E", bound="Event")


class Event:
    """Base of all events. Two are equal if they are of one class and their fields are.

    Comparison and repr are here, for tests and debuggers: attrs compiled them for each of the forty classes, which took
    a twentieth of a start.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]]
    """The names of the event's fields."""

    name: ClassVar[str]
    level: ClassVar[Level] = "info"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(other, key) == getattr(self, key) for key in self.__match_args__
        )

    __hash__ = None  # type: ignore[assignment]  # nobody puts events into a set

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={getattr(self, key)!r}' for key in self.__match_args__)})"


@dataclass_transform(frozen_default=True)
def frozen_event(cls: type[E]) -> type[E]:
    """Make an attrs class of a class of events: frozen, with slots."""
    return attrs.frozen(cls, eq=False, repr=False)


Sink: TypeAlias = Callable[[Event], None]


class Observers:
    """A sink that passes each event to other sinks."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        """Add a sink, unless it is already added."""
        if sink not in self._sinks:
            self._sinks.append(sink)

    def remove(self, sink: Sink) -> None:
        """Remove a sink that was added. Never call it from a sink."""
        self._sinks.remove(sink)

    def __call__(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)
