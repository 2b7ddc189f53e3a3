"""Watch DNS names and files for servers, in background tasks. The control plane applies the results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

import attrs
import trio

from lb.discovery.merge import Known, SourceKey, complete, held_servers
from lb.discovery.source import Source
from lb.discovery.sources import sources
from lb.events import Fault, Sink
from lb.model import Config, ServerSpec

if TYPE_CHECKING:
    from lb.discovery.dns import AskNameserver

__all__ = ["Discovery"]

FIRST_LOOK = 2.0
"""Seconds that a start or a reload waits for the first look-up of new sources. A guess: a healthy name server takes
milliseconds, and a dead one must not prevent other pools from serving."""


@attrs.define(eq=False)
class Followed:
    """A watched source."""

    source: Source
    known: Known = attrs.field(factory=Known)
    looked: trio.Event = attrs.field(factory=trio.Event)
    """Set after the first look-up, successful or not."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    hold: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Ends when the next server is held no longer."""


class Discovery:
    """Watches the sources of a configuration, with tasks in the caller's nursery."""

    def __init__(
        self, nursery: trio.Nursery, sink: Sink, new_client: Callable[[], Awaitable[AskNameserver]] | None = None
    ) -> None:
        self._nursery = nursery
        self._sink = sink
        self._new_client = new_client
        self._followed: dict[SourceKey, Followed] = {}
        self.failures: dict[str, int] = {}
        """Look-ups that failed, completely or partly, by pool; including removed sources."""
        self._news = trio.Event()

    async def begin(self, config: Config) -> None:
        """Watch the new sources of a configuration as well. Waits up to FIRST_LOOK for their first look-up."""
        found = sources(config, self._new_client)
        new = [self._follow(key, source) for key, source in found.items() if key not in self._followed]
        with trio.move_on_after(FIRST_LOOK):
            for followed in new:
                await followed.looked.wait()
        for key, followed in self._followed.items():
            if followed in new and not followed.looked.is_set():
                self._note(key, followed, (), (f"no answer in {FIRST_LOOK:g} s, still waiting",))

    def keep_to(self, config: Config) -> None:
        """Stop watching sources that are not in this configuration."""
        wanted = sources(config, self._new_client)
        for key, followed in list(self._followed.items()):
            if key not in wanted:
                followed.scope.cancel()
                del self._followed[key]
            elif followed.source != wanted[key]:
                followed.scope.cancel()
                self._follow(key, wanted[key], followed.known)

    def complete(self, config: Config) -> Config:
        """Return the configuration with the servers known now."""
        return complete(config, self._known())

    def held(self, config: Config) -> frozenset[tuple[str, str]]:
        """Return the servers, as pool and name, that only drain now: their records have vanished."""
        return held_servers(config, self._known())

    def _known(self) -> dict[SourceKey, Known]:
        return {key: followed.known for key, followed in self._followed.items()}

    async def news(self) -> None:
        """Wait until the known servers change after the end of the last wait."""
        await self._news.wait()
        self._news = trio.Event()

    def _follow(self, key: SourceKey, source: Source, known: Known | None = None) -> Followed:
        self._followed[key] = followed = Followed(source, known or Known())
        self.failures.setdefault(key.pool, 0)
        self._nursery.start_soon(self._watch, key, followed)
        return followed

    def _note(
        self, key: SourceKey, followed: Followed, servers: tuple[ServerSpec, ...], errors: tuple[str, ...]
    ) -> None:
        event = followed.known.note(key, servers, errors)
        self.failures[key.pool] += bool(followed.known.failures)
        if event is not None:
            self._sink(event)

    def _list(self, followed: Followed, servers: tuple[ServerSpec, ...], hold: float) -> None:
        known = followed.known
        if servers != known.servers:
            known.list(servers, trio.current_time(), hold)
            followed.hold.deadline = known.next_end
            self._news.set()

    async def _watch(self, key: SourceKey, followed: Followed) -> None:
        def found(
            servers: tuple[ServerSpec, ...], errors: tuple[str, ...], *, hold: float = 0.0, more: bool = False
        ) -> None:
            if servers:
                self._list(followed, servers, hold)
            if not more:
                self._note(key, followed, servers, errors)
            followed.looked.set()

        def fault(exception: Exception) -> None:
            self._sink(Fault(f"pool {key.pool}: {key.text}", exception))

        with followed.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_holds, followed)
                await followed.source.watch(found, fault)

    async def _end_holds(self, followed: Followed) -> NoReturn:
        while True:
            with trio.CancelScope(deadline=followed.known.next_end) as followed.hold:
                await trio.sleep_forever()
            followed.known.end_hold(trio.current_time())
            self._news.set()
