"""Which timeline a live stream is on: its own, or that of its ladder; and the numbers that it may not use again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lb.media.known_numbers import KnownNumbers
from lb.media.live_stream import new_timeline
from lb.media.messages import NumbersUsed
from lb.media.timeline import SharedTimeline
from lb.model import LiveSpec

__all__ = ["StreamTimelines"]


class StreamTimelines:
    """``used(app, name)`` returns how far the numbers of a stream are; None: it is not there."""

    def __init__(self, used: Callable[[str, str], NumbersUsed | None]) -> None:
        self._used = used
        self._before = KnownNumbers()
        """Streams of the processes before this one, and those that were forgotten while their numbers were ahead of
        time."""
        self._ladders: dict[tuple[str, str], SharedTimeline] = {}
        """By application and name of the ladder: its members share it."""

    def recall(self, used: Iterable[NumbersUsed]) -> None:
        """Learn of the streams of the processes before this one."""
        for each in used:
            self._before.note(each)

    def was_there(self, stream: str) -> bool:
        """Return whether a process before this one had this stream, ``app/name``."""
        return self._before.of(stream) is not None

    def forgotten(self, used: NumbersUsed, due: float) -> None:
        """A stream is no longer there. ``due`` is the number of this time.

        Numbers that a later run would use again are remembered, such as those of a publisher faster than time.
        """
        self._before.forget(used.stream)
        if used.number > due:
            self._before.note(used)

    def configure(self, apps: Mapping[str, LiveSpec]) -> None:
        """Apply a configuration: ladders that it does not have are forgotten."""
        ladders = {(app.name, ladder) for app in apps.values() for ladder, _ in app.ladder}
        self._ladders = {each: timeline for each, timeline in self._ladders.items() if each in ladders}

    def new(self, app: LiveSpec, name: str) -> SharedTimeline:
        """Return the timeline of a new stream."""
        return self.of_ladder(app, name) or self._new(app, (name,))

    def of_ladder(self, app: LiveSpec, name: str) -> SharedTimeline | None:
        """Return the timeline of the ladder that a stream belongs to; None: it belongs to none."""
        for ladder, members in app.ladder:
            if name in members:
                if (app.name, ladder) not in self._ladders:
                    self._ladders[app.name, ladder] = self._new(app, members)
                return self._ladders[app.name, ladder]
        return None

    def _new(self, app: LiveSpec, names: Iterable[str]) -> SharedTimeline:
        """Return one whose numbers come after all that were used for these streams, also by processes before."""
        known = [self._used(app.name, name) or self._before.of(f"{app.name}/{name}") for name in names]
        used = [each for each in known if each is not None and each.number >= 0]
        if not used:
            return new_timeline(app)
        after, breaks = max(each.number for each in used), max(each.breaks for each in used) + 1
        return new_timeline(app, after, breaks)
