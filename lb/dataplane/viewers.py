"""Who watches live streams: the addresses that asked for a playlist or a manifest lately. Pure: times are passed in.

Viewers are counted where they come to, as the cache hides them from the process that makes the segments. The processes
of a balancer tell addresses, so that a player whose connections came to several of them counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from lb.events import Event, HttpRequest, Sink
from lb.model import Config, HttpSettings, MediaSpec, ToMedia
from lb.model.media import LIVE_POOL

__all__ = ["MOST_VIEWERS", "WatchedStreams", "Watchers", "merge_watchers", "viewers_of"]

WatchedStreams: TypeAlias = dict[str, dict[str, float]]
"""When an address was seen last, in seconds of a clock that all processes of the machine share, by ``app/name``."""

MOST_VIEWERS = 50_000
"""Addresses that a process remembers, over all streams. A CPU core serves fewer players of short segments."""
TARGETS = 3
"""A viewer asks again at least once in so many target durations."""
_LISTS = (".m3u8", ".mpd")
_DONE = (200, 304)


class Watchers:
    """The addresses that this process has seen. ``clock`` is one that all processes of the machine share."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._routes: dict[tuple[str, str], tuple[str, str]] = {}
        """Application and path of the routes to live streams, by listener and route."""
        self._kept: dict[str, float] = {}
        """Seconds that an address is remembered, by application."""
        self._seen: WatchedStreams = {}
        self._count = 0
        self._forgot_at = 0.0

    def configure(self, config: Config) -> None:
        """Apply a configuration."""
        self._kept = {app.name: TARGETS * max(app.segment, app.max_gop) for app in config.media.live}
        self._routes = {
            (listener.name, route.name): (route.target.media, route.path.rstrip("/") + "/")
            for listener in config.listeners.values()
            if isinstance(listener.settings, HttpSettings)
            for route in listener.settings.routes
            if isinstance(route.target, ToMedia) and route.target.pool == LIVE_POOL
        }
        self._forget(self._clock())

    def observing(self, sink: Sink) -> Sink:
        """Return a sink that notes the requests of viewers and passes events on to ``sink``."""
        if not self._routes:
            return sink

        def observe(event: Event) -> None:
            if isinstance(event, HttpRequest):
                self.note(event)
            sink(event)

        return observe

    def note(self, record: HttpRequest) -> None:
        """Note who asks for a playlist or a manifest, and gets it. Costs less than a microsecond."""
        route = self._routes.get((record.listener, record.route))
        if route is None or not record.path.endswith(_LISTS) or record.status not in _DONE or record.method != "GET":
            return
        app, path = route
        name, _, rest = record.path.removeprefix(path).partition("/")
        if record.client.host and rest and "/" not in rest:
            self._see(f"{app}/{name}", record.client.host)

    def _see(self, stream: str, address: str) -> None:
        now = self._clock()
        seen = self._seen.get(stream)
        if seen is None or seen.pop(address, None) is None:
            if self._count >= MOST_VIEWERS and not self._has_room(now):
                return
            self._count += 1
        self._seen.setdefault(stream, {})[address] = now  # at the end: the first was not seen for longest

    def _has_room(self, now: float) -> bool:
        """Forget who has left, at most once a second. Return whether there is room for one more."""
        if now - self._forgot_at >= 1:
            self._forget(now)
        return self._count < MOST_VIEWERS

    def _forget(self, now: float) -> None:
        self._forgot_at = now
        for stream, seen in list(self._seen.items()):
            oldest = now - self._kept.get(stream.partition("/")[0], 0.0)
            while seen and next(iter(seen.values())) < oldest:
                del seen[next(iter(seen))]
                self._count -= 1
            if not seen:
                del self._seen[stream]

    def seen(self) -> WatchedStreams:
        """Return who may still watch."""
        self._forget(self._clock())
        return {stream: dict(seen) for stream, seen in self._seen.items()}


def merge_watchers(ours: WatchedStreams, theirs: WatchedStreams) -> None:
    """Add what another process has seen."""
    for stream, seen in theirs.items():
        known = ours.setdefault(stream, {})
        for address, at in seen.items():
            known[address] = max(at, known.get(address, at))


def viewers_of(watched: WatchedStreams, media: MediaSpec, targets: Mapping[str, float], now: float) -> dict[str, int]:
    """Return the number of viewers by ``app/name``, for all streams that have some.

    A viewer of a ladder reads the lists of its members: who watches one of them watches the ladder, too. ``targets``
    are the target durations of streams in seconds, as far as they are known: else it is ``segment``. ``now`` is of the
    clock of ``watched``.
    """
    watching: dict[str, set[str]] = {}
    for app in media.live:
        ladder_of = {member: ladder for ladder, members in app.ladder for member in members}
        for stream, seen in watched.items():
            name = stream.removeprefix(f"{app.name}/")
            if name == stream:
                continue
            oldest = now - TARGETS * targets.get(stream, app.segment)
            found = {address for address, at in seen.items() if at >= oldest}
            for each in {name, ladder_of.get(name, name)} if found else ():
                watching.setdefault(f"{app.name}/{each}", set()).update(found)
    return {stream: len(addresses) for stream, addresses in watching.items()}
