"""The zones of the cache in this process: the same for all listeners, also over reloads."""

from __future__ import annotations

from weakref import WeakValueDictionary, finalize, ref

import trio

from lb.cache.disk_store import DiskStore
from lb.cache.zone import CacheZone
from lb.model import CacheSpec
from lb.model.cache_figures import CacheFigures
from lb.model.purge import Purge, Purged, StoredResponse
from lb.net.deadlines import DeadlineQueue
from lb.proxy.context import ConnectionContext
from lb.relay.epoll_loop import EpollLoop
from lb.relay.epoll_splicer import EpollSplicer

__all__ = ["CacheZones"]

MOST_OFTEN, LEAST_OFTEN = 1.0, 60.0
"""Seconds between two looks for what nobody asks for any more."""
LOOKS_A_LIFE = 4
"""Looks in the time after which such a response is removed."""


class CacheZones:
    """A zone lives as long as a route uses it. It keeps its responses over a change of its limits.

    Implements :class:`lb.proxy.context.Caches`.
    """

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        context.caches = self
        self._zones: WeakValueDictionary[tuple[str, str], CacheZone] = WeakValueDictionary()

    def of(self, spec: CacheSpec) -> CacheZone:
        """Return the zone, with these limits."""
        zone = self._zones.get((spec.name, spec.path))
        memory = spec.memory // self._context.place.workers
        if zone is None:
            disk = self._disk(spec) if spec.path else None
            zone = CacheZone(spec, memory, disk, descriptors=self._context.descriptors)
            self._zones[spec.name, spec.path] = zone
            _Upkeep(self._context, zone)
            if zone.disk is not None:
                self._run(zone, zone.disk)
        else:
            zone.configure(spec, memory)
        return zone

    def _disk(self, spec: CacheSpec) -> DiskStore:
        context = self._context
        return DiskStore(spec, _loop_of(context), context.descriptors, context.sink)

    def _run(self, zone: CacheZone, disk: DiskStore) -> None:
        """Let the disk's tasks run as long as the zone is in use."""
        scope = trio.CancelScope()
        finalize(zone, scope.cancel)

        async def run() -> None:
            with scope:
                await disk.run()

        _loop_of(self._context).spawn(run)

    def all(self) -> list[CacheZone]:
        """Return the zones in use."""
        return list(self._zones.values())

    def figures(self) -> dict[str, CacheFigures]:
        return {zone.spec.name: zone.figures() for zone in self.all()}

    async def purge(self, zone: str, what: Purge) -> Purged:
        total = Purged()
        for each in self._named(zone):
            total = total.plus(await each.purge(what))
        return total

    async def stored(self, zone: str, key: bytes) -> list[StoredResponse]:
        return [response for each in self._named(zone) for response in await each.stored(key)]

    def _named(self, name: str) -> list[CacheZone]:
        """Return the zones of this name: two if a reload has just given it another directory."""
        return [zone for zone in self.all() if zone.spec.name == name]


class _Upkeep:
    """Removes what nobody asks for any more. Implements Wait."""

    def __init__(self, context: ConnectionContext, zone: CacheZone) -> None:
        self._context = context
        self._zone = ref(zone)
        self._enter(zone)

    def _enter(self, zone: CacheZone) -> None:
        interval = min(max(zone.spec.inactive / LOOKS_A_LIFE, MOST_OFTEN), LEAST_OFTEN)
        if zone.disk is not None:
            interval = MOST_OFTEN  # other processes remove files too
        self._context.deadlines.queue("cache", interval).enter(self, self._context.clock())

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - it is in one only
        zone = self._zone()
        if zone is not None:
            zone.remove_inactive()
            zone.close_removed()
            self._enter(zone)


def _loop_of(context: ConnectionContext) -> EpollLoop:
    assert isinstance(context.splicer, EpollSplicer)  # noqa: S101 - HttpMode.read_settings has looked
    return context.splicer.loop
