"""Who hears of events: the log, and whoever has joined it."""

from __future__ import annotations

from lb.events import Event, Sink

__all__ = ["Observers"]


class Observers:
    """A sink that tells all others."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        """From now on, if it has not joined before."""
        if sink not in self._sinks:
            self._sinks.append(sink)

    def __call__(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)
