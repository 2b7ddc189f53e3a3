"""Watch sources of servers, in background tasks. The control plane applies the results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import trio

from lb.discovery.handed_over import known_as_json, known_from_json
from lb.discovery.known import Known, SourceKey
from lb.discovery.merge import complete, held_servers, keys_of
from lb.discovery.source import Source
from lb.discovery.sources import sources
from lb.events import Event, Fault, Sink
from lb.model import Config, PoolSpec, ServerSpec

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
    memory: Callable[[], object] = lambda: None
    """Returns what the next watch is handed: what the one before has kept, until this one keeps something itself."""


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

    async def begin(self, config: Config, handed: Iterable[Mapping[str, Any]] = ()) -> None:
        """Watch the new sources of a configuration as well. Waits up to FIRST_LOOK for their first look-up.

        A predecessor may have ``handed`` over, by :meth:`as_json`, what it knows of some: they are not waited for.
        """
        found = sources(config, self._new_client)
        known = {SourceKey(each["pool"], each["source"]): each for each in handed}
        new = []
        for key, source in found.items():
            if key in self._followed:
                continue
            if read := known.get(key):
                self._follow(key, source, known_from_json(read, trio.current_time()), read["memory"])
            else:
                new.append(self._follow(key, source))
        with trio.move_on_after(FIRST_LOOK):
            for followed in new:
                await followed.looked.wait()
        for key, followed in self._followed.items():
            if followed in new and not followed.looked.is_set():
                late = f"no answer in {FIRST_LOOK:g} s, still waiting"
                asked = followed.source.asked
                errors = (f"{asked}: {late}" if asked else late,)
                self.noted(key, followed, followed.known.note(key, "", None, errors, trio.current_time()))

    def keep_to(self, config: Config) -> None:
        """Stop watching sources that are not in this configuration."""
        wanted = sources(config, self._new_client)
        for key, followed in list(self._followed.items()):
            if key not in wanted:
                followed.scope.cancel()
                del self._followed[key]
            elif followed.source != wanted[key]:
                followed.scope.cancel()
                self._follow(key, wanted[key], followed.known, followed.memory())

    def as_json(self) -> list[dict[str, object]]:
        """Return what is known of each source that has answered, for the successor of this process."""
        now = trio.current_time()
        return [
            {
                "pool": key.pool,
                "source": key.text,
                **known_as_json(followed.known, now),
                "memory": followed.memory(),
            }
            for key, followed in self._followed.items()
            if followed.known.origin
        ]

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

    def known_of(self, pool: PoolSpec) -> dict[SourceKey, Known]:
        """Return what is known from each source of a pool, in the order of their servers."""
        return {key: self._followed[key].known for key in keys_of(pool) if key in self._followed}

    def _follow(self, key: SourceKey, source: Source, known: Known | None = None, handed: object = None) -> Followed:
        known = known or Known(since=trio.current_time())
        self._followed[key] = followed = Followed(source, known, memory=lambda: handed)
        self.failures.setdefault(key.pool, 0)
        self._nursery.start_soon(self._watch, key, followed)
        return followed

    def noted(self, key: SourceKey, followed: Followed, event: Event | None) -> None:
        """Count a failure, and report it if it is a new one."""
        self.failures[key.pool] += bool(followed.known.failures)
        if event is not None:
            self._sink(event)

    def changed(self, followed: Followed, before: tuple[ServerSpec, ...]) -> None:
        """Take note that the servers of a source may be others than before."""
        followed.hold.deadline = followed.known.next_end
        if followed.known.servers != before:
            self._news.set()

    def fault(self, key: SourceKey, exception: Exception) -> None:
        self._sink(Fault(f"pool {key.pool}: {key.text}", exception))

    async def _watch(self, key: SourceKey, followed: Followed) -> None:
        with followed.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_holds, followed)
                await followed.source.watch(_Findings(self, key, followed))

    async def _end_holds(self, followed: Followed) -> NoReturn:
        while True:
            with trio.CancelScope(deadline=followed.known.next_end) as followed.hold:
                await trio.sleep_forever()
            followed.known.end_hold(trio.current_time())
            self._news.set()


@attrs.frozen
class _Findings:
    """What one source finds. Implements :class:`lb.discovery.source.Findings`."""

    discovery: Discovery
    key: SourceKey
    followed: Followed

    @property
    def handed(self) -> Any:  # noqa: ANN401 - each source has its own
        return self.followed.memory()

    def keep(self, memory: Callable[[], object]) -> None:
        self.followed.memory = memory

    def found(
        self,
        servers: tuple[ServerSpec, ...] | None,
        errors: tuple[str, ...],
        *,
        hold: float = 0.0,
        hold_all: float = 0.0,
        more: bool = False,
    ) -> None:
        known, now = self.followed.known, trio.current_time()
        before = known.servers
        known.take(servers, now, self.key.kind, hold, hold_all)
        self.discovery.changed(self.followed, before)
        if not more:
            event = known.note(self.key, self.followed.source.where, servers, errors, now)
            self.discovery.noted(self.key, self.followed, event)
        self.followed.looked.set()

    def remembered(self, servers: tuple[ServerSpec, ...]) -> None:
        before = self.followed.known.servers
        self.followed.known.remember(servers, trio.current_time())
        self.discovery.changed(self.followed, before)

    def file_failed(self, error: str) -> None:
        known = self.followed.known
        if error or "file" in known.errors:
            self.discovery.noted(self.key, self.followed, known.note_file(self.key, error, trio.current_time()))

    def fault(self, exception: Exception) -> None:
        self.discovery.fault(self.key, exception)
