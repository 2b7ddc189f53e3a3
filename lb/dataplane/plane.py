"""The interface of the data plane, which carries traffic: this process or workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import trio

from healthcheck.state import Change
from lb.dataplane.stats import StatsSnapshot
from lb.model import Config, PoolSpec, ServerSpec
from lb.model.binds import BindingChanges, Place
from lb.model.connection import ConnectionFilter, LiveConnection
from lb.model.purge import Purge, StoredResponse
from lb.model.timing import Timings
from lb.net.descriptors import Descriptors
from lb.net.sockets import Opened
from lb.pools.backend import Backend
from lb.pools.pool import Pool

__all__ = ["CommitChange", "DataPlane", "DataPlaneError"]

CommitChange: TypeAlias = Callable[[Sequence[Backend]], Awaitable[None]]
"""Applies a prepared change. Call it right after the pools have changed, with the removed servers."""


class DataPlaneError(Exception):
    """The data plane cannot apply a configuration. The message is one line."""


class DataPlane(Protocol):
    """Accepts, connects and relays. The control plane notifies it of the servers' health.

    It accepts on a :class:`lb.net.sockets.ListeningSockets` that the caller owns.
    """

    descriptors: Descriptors
    """The budget of descriptors of this process."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run until cancelled. The other methods may be called once it has started."""

    @property
    def open_connections(self) -> int:
        """The number of open connections."""

    def new_backend(self, pool: PoolSpec, server: ServerSpec, now: float) -> Backend:
        """Return a server for the control plane's pools, with the data plane's connection count."""

    def change(
        self, config: Config, changes: BindingChanges, opened: Opened, *, at_start: bool
    ) -> AbstractAsyncContextManager[CommitChange]:
        """Prepare another configuration. It takes effect if the block calls the commit function.

        ``at_start`` as for :meth:`lb.pools.pool.Pool.prepare`.
        Raises DataPlaneError if it cannot be applied. The commit also updates the listening sockets: the data plane
        knows when it no longer needs the released ones.
        """

    def health_changed(self, pool: Pool, backend: Backend, change: Change | None) -> None:
        """A server's health has changed. With None, the state is the same but other details have changed."""

    def resolved(self, pool: Pool, backend: Backend) -> None:
        """A server's addresses, or their order, have changed."""

    async def overridden(self, pool: Pool, backend: Backend) -> None:
        """Apply what :meth:`lb.pools.pool.Pool.override` has changed. Returns once it is in force."""

    def active(self, listener: str) -> int:
        """Return the number of open connections of a listener."""

    async def stats(self) -> StatsSnapshot:
        """Return traffic statistics; counted only with an admin endpoint, see :class:`lb.model.AdminSpec`."""

    async def timings(self, pool: str) -> Timings:
        """Return response times of the pool's servers since the last call, if measured; see OutlierSpec."""

    async def live(self, only: ConnectionFilter) -> list[LiveConnection]:
        """Return the open connections that match, oldest first."""

    async def cut(self, only: ConnectionFilter) -> int:
        """Close the open connections that match, with reason ``stopped``. Return their number."""

    async def purge(self, zone: str, what: Purge) -> int:
        """Forget what matches in a cache. Return the number of responses, once no process has them any more."""

    async def stored(self, zone: str, key: bytes) -> list[StoredResponse]:
        """Return the responses with this key that a cache has, as far as they are in memory."""

    async def stop_listening(self, elsewhere: Collection[Place] = ()) -> None:
        """Accept the clients in the backlogs, then stop listening. Open connections continue.

        Sockets ``elsewhere`` belong to another process, too: close them without accepting from their backlogs.
        """

    def recheck_backlog(self) -> None:
        """Accept clients in the backlogs. Only another process, now gone, may have been notified of them."""

    async def none_open(self) -> None:
        """Wait until no connection is open. Call it after :meth:`stop_listening`."""

    async def end(self) -> None:
        """Close all open connections with reason ``stopped``."""
