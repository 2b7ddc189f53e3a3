"""The zones of the cache in this process: the same for all listeners, also over reloads."""

from __future__ import annotations

from weakref import WeakValueDictionary, ref

from lb.cache.zone import CacheZone
from lb.model import CacheSpec
from lb.net.deadlines import DeadlineQueue
from lb.proxy.context import ConnectionContext

__all__ = ["CacheZones"]

MOST_OFTEN, LEAST_OFTEN = 1.0, 60.0
"""Seconds between two looks for what nobody asks for any more."""
LOOKS = 4
"""Looks in the time after which such a response is removed."""


class CacheZones:
    """A zone lives as long as a route uses it. It keeps its responses over a change of its limits."""

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        self._zones: WeakValueDictionary[tuple[str, str], CacheZone] = WeakValueDictionary()

    def of(self, spec: CacheSpec) -> CacheZone:
        """Return the zone, with these limits."""
        zone = self._zones.get((spec.name, spec.path))
        memory = spec.memory // self._context.workers
        if zone is None:
            zone = self._zones[spec.name, spec.path] = CacheZone(spec, memory)
            _Upkeep(self._context, zone)
        else:
            zone.configure(spec, memory)
        return zone

    def all(self) -> list[CacheZone]:
        """Return the zones in use."""
        return list(self._zones.values())


class _Upkeep:
    """Removes what nobody asks for any more. Implements Wait."""

    def __init__(self, context: ConnectionContext, zone: CacheZone) -> None:
        self._context = context
        self._zone = ref(zone)
        self._enter(zone)

    def _enter(self, zone: CacheZone) -> None:
        interval = min(max(zone.spec.inactive / LOOKS, MOST_OFTEN), LEAST_OFTEN)
        self._context.deadlines.queue("cache", interval).enter(self, self._context.clock())

    def expired(self, queue: DeadlineQueue) -> None:  # noqa: ARG002 - it is in one only
        zone = self._zone()
        if zone is not None:
            zone.remove_inactive()
            self._enter(zone)
