"""Follow the EndpointSlices of a service: a list, then watches from its version on, for ever."""

from __future__ import annotations

from typing import NoReturn, Protocol

import trio

from lb.kubernetes.api_server import ApiServer
from lb.kubernetes.endpoints import SliceDocument
from lb.kubernetes.watch_lines import GoneError, KubernetesError, RefusedError, WatchEvent, WatchLines

__all__ = ["SliceFollower", "SliceObserver"]

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds between two attempts: longer from failure to failure. Guesses: all balancers of a cluster ask one server."""


class SliceObserver(Protocol):
    """Receives the slices."""

    async def listed(self, slices: list[SliceDocument]) -> None:
        """All slices that there are now."""

    def changed(self, events: list[WatchEvent]) -> None:
        """What changed since then, in order."""

    def watching(self) -> None:
        """A watch has begun: from now on changes come by themselves."""

    def not_watched(self, error: str) -> None:
        """The server refuses to be watched. It is asked for a list every few seconds instead."""

    def lost(self, error: str) -> None:
        """The server does not answer, or refuses the list. What is known stays."""


class SliceFollower:
    """Follows the slices, whatever happens to the server, its connections and its history."""

    def __init__(self, server: ApiServer, observer: SliceObserver) -> None:
        self._server = server
        self._observer = observer
        self._pause = SHORTEST_PAUSE

    async def run(self) -> NoReturn:
        """Follow the slices for ever. A watch that breaks is no failure if the list after it works."""
        while True:
            began = trio.current_time()
            try:
                slices, version = await self._server.list()
                await self._observer.listed([*slices])
                await self._watch(version)
            except GoneError:
                pass  # of a page of the list: it begins anew
            except KubernetesError as error:
                self._observer.lost(str(error))
            if trio.current_time() > began + LONGEST_PAUSE:
                self._pause = SHORTEST_PAUSE
            await trio.sleep(self._pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    async def _watch(self, version: str) -> None:
        """Watch from a version on, watch after watch, until one fails."""
        while True:
            began = trio.current_time()
            lines = WatchLines(version, self._observer.changed)
            try:
                await self._server.watch(version, lines, self._observer.watching)
            except RefusedError as error:
                self._observer.not_watched(str(error))
                return
            except KubernetesError:  # a connection that broke, or a version that is too old: the list says more
                return
            version = lines.version
            await trio.sleep(max(0.0, began + SHORTEST_PAUSE - trio.current_time()))
