"""The context shared by all connections of a process: the splicer, the event sink, the open connections."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeAlias, TypeVar, cast

import trio

from lb.events import Sink
from lb.model.cache_figures import CacheFigures
from lb.model.purge import Purge, Purged, StoredResponse
from lb.net.deadlines import Deadlines
from lb.net.descriptors import Descriptors
from lb.net.disconnects import Watch
from lb.net.own_addresses import OwnAddresses
from lb.proxy.downstream import OpenConnection
from lb.proxy.source_limits import SourceLimits
from lb.relay.splicer import Splicer
from lb.tls.store import TlsStore

__all__ = ["ONLY_PROCESS", "Caches", "ConnectionContext", "PurgeElsewhere", "WorkerPlace"]

HOLD_RETRY = 0.5
"""Seconds until a held connection retries servers that refused it but are up. Equal to the fast check interval."""


T = TypeVar("T")
PurgeElsewhere: TypeAlias = Callable[[str, Purge, Callable[[Purged], None]], None]
"""Has the other processes purge a zone, and calls back once they have."""


class Caches(Protocol):
    """The caches of this process, by the names of their zones."""

    def figures(self) -> dict[str, CacheFigures]:
        """Return what they have done and hold."""

    async def purge(self, zone: str, what: Purge) -> Purged:
        """Forget what matches: this process does not find it any more."""

    async def stored(self, zone: str, key: bytes) -> list[StoredResponse]:
        """Return the responses with this key."""


class WorkerPlace(NamedTuple):
    """A process among those that carry the traffic of the same listeners."""

    worker: int | None
    """Its number; None if it is no worker."""
    workers: int
    """How many there are."""
    group: str
    """A text that only they have: not those of another balancer, nor of the one after an upgrade."""


ONLY_PROCESS = WorkerPlace(None, 1, "")


class ConnectionContext:
    """The context shared by all connections of the process.

    ``next_id`` returns the id of each new connection; by default ids count from 1. ``source_limits`` is passed to a
    worker, because all workers count sources together. ``secret`` is the same in all workers and after an upgrade.
    ``descriptors`` is the budget of the process.
    """

    caches: Caches | None = None
    """Mode ``http`` sets it if a route has a cache."""
    purge_elsewhere: PurgeElsewhere | None = None
    """Of a worker: there are others that have the same caches."""
    is_purging: Callable[[], bool] = staticmethod(lambda: False)
    """A purge is under way: some processes may still have what others have forgotten."""

    note_forward: Callable[[str, str, str, bytes], None] = staticmethod(
        lambda _listener, _protocol, _result, _target: None
    )
    """Counts what a forward proxy was asked for: listener, protocol, result, target."""
    own_addresses = OwnAddresses()
    """The addresses on which this process listens."""

    def __init__(
        self,
        *,
        splicer: Splicer,
        descriptors: Descriptors,
        deadlines: Deadlines,
        disconnects: Watch,
        sink: Sink,
        next_id: Callable[[], int] | None = None,
        source_limits: SourceLimits | None = None,
        secret: bytes = b"",
        place: WorkerPlace = ONLY_PROCESS,
    ) -> None:
        self.clock = trio.lowlevel.current_clock().current_time
        """The clock behind trio.current_time(), without its lookup, which adds up over several calls per connection."""
        self.splicer = splicer
        self.descriptors = descriptors
        self.disconnects = disconnects
        self.sink = sink
        self.is_counting = True
        """The sink counts connections and requests, for an admin endpoint."""
        self.is_debugging = True
        """The sink wants events of level debug."""
        self.open: set[OpenConnection] = set()
        self.secret = secret
        """For what clients bring back and must not make themselves; each use derives its own key from it."""
        self.tls = TlsStore(secret)
        self.deadlines = deadlines
        self.hold_retry = deadlines.queue("hold_retry", HOLD_RETRY)
        self.source_limits = source_limits or SourceLimits.of_process()
        self.place = place
        self.next_id = next_id or itertools.count(1).__next__
        self.kept_connections: Callable[[], Mapping[str, int]] = dict
        """Returns the number of idle connections to servers that are kept for further requests, by pool. Mode ``http``
        replaces it."""
        self.note_connect: Callable[[str, float], None] = lambda _pool, _milliseconds: None
        """Counts a successful connect of a pool that is in no record of a connection: mode ``http`` calls it."""
        self._closed = trio.Event()
        self._of_modes: dict[object, object] = {}

    def of_mode(self, kind: Callable[[ConnectionContext], T]) -> T:
        """Return what all listeners of a mode share, made once: ``kind(context)``."""
        found = self._of_modes.get(kind)
        if found is None:
            found = self._of_modes[kind] = kind(self)
        return cast("T", found)

    async def none_open(self) -> None:
        """Wait until no connection is open."""
        while self.open:
            self._closed = trio.Event()
            await self._closed.wait()

    def closed(self, connection: OpenConnection) -> None:
        """Remove a connection from the open ones."""
        self.open.discard(connection)
        if not self.open:
            self._closed.set()
