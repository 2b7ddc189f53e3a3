"""What all connections of the process share: the splicer, the sink, and the list of those that are open."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from lb.events import Fault, Sink
from lb.sources import Sources
from lb.splicing.deadlines import Deadlines
from lb.splicing.departures import Watch
from lb.splicing.splicer import Splicer
from lb.tls.store import TlsStore

if TYPE_CHECKING:
    from lb.connection import Connection

__all__ = ["ConnectionContext"]

HOLD_RETRY = 0.5
"""Seconds after which a held connection tries again servers that refused it but count as up. As the fast interval."""


class ConnectionContext:
    """What all connections of the process share. ``next_id`` gives each its id; by default they count from 1.

    ``sources`` is given to a process that is one of several; its sources are counted by all.
    ``run`` must be running for :meth:`spawn`, and for what ``departures`` watches.
    """

    def __init__(
        self,
        *,
        splicer: Splicer,
        deadlines: Deadlines,
        departures: Watch,
        sink: Sink,
        next_id: Callable[[], int] | None = None,
        sources: Sources | None = None,
    ) -> None:
        self.clock = trio.lowlevel.current_clock().current_time
        """What trio.current_time() asks for each time; several times a connection it adds up."""
        self.splicer = splicer
        self.departures = departures
        self.sink = sink
        self.open: set[Connection] = set()
        self.tls = TlsStore()
        self.hold_retry = deadlines.queue("hold_retry", HOLD_RETRY)
        self.sources = sources or Sources.of_process()
        self.next_id = next_id or itertools.count(1).__next__
        self._closed = trio.Event()
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the tasks that connections need, for ever."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self.departures.run)
            task_status.started()
            await trio.sleep_forever()

    def spawn(self, run: Callable[[], Awaitable[None]], failed: Callable[[], None]) -> trio.CancelScope:
        """Start a task, and return what calls it off. If it raises, that is a fault, and ``failed`` is called."""
        scope = trio.CancelScope()
        self._nursery.start_soon(self._contained, scope, run, failed)
        return scope

    async def _contained(
        self, scope: trio.CancelScope, run: Callable[[], Awaitable[None]], failed: Callable[[], None]
    ) -> None:
        with scope:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                await run()
            except Exception as exception:  # noqa: BLE001 - a bug in one connection must not reach another
                self.sink(Fault("connection", exception))
                failed()

    async def none_open(self) -> None:
        """Return when no connection is open."""
        while self.open:
            self._closed = trio.Event()
            await self._closed.wait()

    def closed(self, connection: Connection) -> None:
        """Forget an open connection."""
        self.open.discard(connection)
        if not self.open:
            self._closed.set()
