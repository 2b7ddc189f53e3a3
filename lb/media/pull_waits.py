"""Those who want streams that are fetched, and wait until they have come or do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import trio

from lb.media.live_playlists import Member
from lb.media.pulls import Pulls, PullState
from lb.media.served_stream import ServedStream
from lb.model import LiveSpec
from lb.model.stream_name import is_stream_name

__all__ = ["PullWaits"]

HELD_FOR_PULL = 10.0
"""Seconds that a list of a stream which is fetched may be waited for: some players ask once, most wait for 20 s."""
_LISTS = ("master.m3u8", "manifest.mpd", "v0.m3u8", "a0.m3u8")


class PullWaits:
    """``find(app, name)`` returns a stream that is there. ``now()`` is Unix time by a clock that is never set."""

    def __init__(self, pulls: Pulls, find: Callable[[str, str], ServedStream | None], now: Callable[[], float]) -> None:
        self._pulls = pulls
        self._find = find
        self._now = now
        self._news = trio.Event()

    def changed(self) -> None:
        """There is something new of a stream that is fetched, or nothing will come: who waits looks again."""
        self._news.set()
        self._news = trio.Event()

    async def fetched(self, app: LiveSpec, names: Sequence[str], file: str) -> bool:
        """Fetch streams that nobody publishes, if the file is a list of them, and wait until they can be listed.

        Return False if it is not known whether there is one.
        """
        if file not in _LISTS:
            for name in names:
                self._pulls.touch(app.name, name)
            return True
        deadline = trio.current_time() + HELD_FOR_PULL
        while True:
            news = self._news
            states = {name: self._want(app, name) for name in names}
            is_coming = any(self._is_coming(app.name, name, state) for name, state in states.items())
            if not is_coming or trio.current_time() >= deadline:
                has_any = any(self._find(app.name, name) is not None for name in names)
                return has_any or set(states.values()) <= {"missing", "published"}
            with trio.move_on_at(deadline):
                await news.wait()

    async def started(self, app: LiveSpec, name: str) -> None:
        """Fetch a stream that nobody publishes, and wait until it comes or does not."""
        with trio.move_on_after(HELD_FOR_PULL):
            while self._want(app, name) == "starting":
                await self._news.wait()

    def _want(self, app: LiveSpec, name: str) -> PullState | Literal["published"]:
        served = self._find(app.name, name)
        if served is not None and served.publication is not None and not served.publication.origin:
            return "published"
        return self._pulls.want(app, name) if is_stream_name(name) else "missing"

    def _is_coming(self, app: str, name: str, state: PullState | Literal["published"]) -> bool:
        """Return whether to wait for a stream: there is nothing of it yet, or only what has ended."""
        served = self._find(app, name)
        if state == "starting":
            return served is None or served.stream.has_ended(self._now())
        return state == "live" and served is not None and not Member(served.stream).is_known
