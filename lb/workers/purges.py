"""Purges of caches in a worker: what the supervisor orders, and what its own clients cause in the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeAlias

import trio

from lb.model.purge import Purge, Purged
from lb.workers.messages import PurgedByOthers, PurgeKeys, PurgeMatching, PurgeOthers

__all__ = ["OrderedPurges", "OtherWorkers", "purge_order"]

MOST_ORDERS = 256
"""Orders that wait. Each worker has one of each type under way, and operators few; above that, messages wait."""

_Asked: TypeAlias = tuple[str, Purge, Callable[[Purged], None]]


def purge_order(what: Purge) -> type[PurgeKeys]:
    """Return the type of order for a purge."""
    return PurgeKeys if what.kind == "key" else PurgeMatching


class OtherWorkers:
    """Makes the other workers purge, over the supervisor. ``send`` sends a message to it.

    One order of each type is under way; what comes meanwhile is in the next. So what waits is bounded by the clients
    that wait for it.
    """

    def __init__(self, worker: int, send: Callable[[object], None], fault: Callable[[Exception], None]) -> None:
        self._worker = worker
        self._send = send
        self._fault = fault
        self._waiting: dict[type[PurgeKeys], list[_Asked]] = {PurgeKeys: [], PurgeMatching: []}
        self._under_way: dict[type[PurgeKeys], list[_Asked]] = {PurgeKeys: [], PurgeMatching: []}
        self._gone = False

    @property
    def are_purging(self) -> bool:
        """They may not have done all yet."""
        return any(self._under_way.values())

    def purge(self, zone: str, what: Purge, done: Callable[[Purged], None]) -> None:
        """Implements :data:`lb.proxy.context.PurgeElsewhere`."""
        kind = purge_order(what)
        self._waiting[kind].append((zone, what, done))
        self._go_on(kind)

    def purged(self, message: PurgedByOthers) -> None:
        """They have done what is under way."""
        self._end(message.to, message.purged)
        self._go_on(message.to)

    def gone(self) -> None:
        """The supervisor has ended: nobody can be asked. The others end, too."""
        self._gone = True
        for kind, asked in self._under_way.items():
            self._end(kind, [Purged()] * len(asked))
            self._go_on(kind)

    def _go_on(self, kind: type[PurgeKeys]) -> None:
        asked = self._waiting[kind]
        if self._under_way[kind] or not asked:
            return
        self._under_way[kind], self._waiting[kind] = asked, []
        if self._gone:
            self._end(kind, [Purged()] * len(asked))
        else:
            self._send(PurgeOthers(self._worker, kind(tuple((zone, what) for zone, what, _ in asked))))

    def _end(self, kind: type[PurgeKeys], purged: Sequence[Purged]) -> None:
        ended, self._under_way[kind] = self._under_way[kind], []
        for (_, _, done), each in zip(ended, purged, strict=True):
            try:
                done(each)
            except Exception as exception:  # noqa: BLE001 - a bug in one request must not reach another
                self._fault(exception)


class OrderedPurges:
    """Does what the supervisor orders beside its other messages: the orders of each type one after the other."""

    def __init__(
        self,
        purge: Callable[[str, Purge], Awaitable[Purged]],
        reply: Callable[[type[PurgeKeys], tuple[Purged, ...]], None],
    ) -> None:
        self._purge = purge
        self._reply = reply
        self._unfinished = 0
        self._channels = {kind: trio.open_memory_channel[PurgeKeys](MOST_ORDERS) for kind in (PurgeKeys, PurgeMatching)}

    @property
    def are_unfinished(self) -> bool:
        """An order has come, and not all workers have done it."""
        return self._unfinished > 0

    def finished(self) -> None:
        """All workers have done an order."""
        self._unfinished -= 1

    async def order(self, order: PurgeKeys) -> None:
        """Take an order. Waits if there are too many."""
        self._unfinished += 1
        await self._channels[type(order)][0].send(order)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for kind in self._channels:
                nursery.start_soon(self._do_all, kind)

    async def _do_all(self, kind: type[PurgeKeys]) -> NoReturn:
        while True:
            order = await self._channels[kind][1].receive()
            self._reply(kind, tuple([await self._purge(zone, what) for zone, what in order.purges]))
