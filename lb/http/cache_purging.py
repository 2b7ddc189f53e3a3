"""A purge of a zone by a client: here, and in the other processes."""

from __future__ import annotations

from collections.abc import Callable

from lb.cache.zone import CacheZone
from lb.model.purge import Purge, Purged
from lb.proxy.context import ConnectionContext
from lb.relay.epoll_loop import EpollLoop

__all__ = ["Purging"]


class Purging:
    """``done(count)`` is called once all processes have purged, with the number of responses that there were.

    It goes on to its end whether its client waits or not.
    """

    def __init__(
        self,
        context: ConnectionContext,
        loop: EpollLoop,
        zone: CacheZone,
        what: Purge,
        done: Callable[[int], None],
    ) -> None:
        self._elsewhere = context.purge_elsewhere
        self._loop = loop
        self._zone = zone
        self._what = what
        self._done = done
        self._total = Purged()
        self._outstanding = 1 if self._elsewhere is None else 2

    def start(self) -> None:
        if self._elsewhere is not None:
            self._elsewhere(self._zone.spec.name, self._what, self._purged)
        if self._what.kind == "key" and self._zone.disk is None:
            self._purged(Purged(self._zone.purge_keys(self._what.texts)))
        else:
            self._loop.spawn(self._purge_here)

    async def _purge_here(self) -> None:
        purged = Purged()
        try:
            purged = await self._zone.purge(self._what)
        except Exception as exception:  # noqa: BLE001 - a bug in one request must not reach another
            self._loop.fault("http", exception)
        self._purged(purged)

    def _purged(self, purged: Purged) -> None:
        self._total = self._total.plus(purged)
        self._outstanding -= 1
        if not self._outstanding:
            self._loop.refresh()
            self._done(self._total.count)
