"""What carries the traffic, as the rest of the balancer sees it: this process itself, or workers."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import trio

from healthcheck.state import Change
from lb.backend import Backend
from lb.binds import Place
from lb.figures import LiveConnection, Survey, Wanted
from lb.model import Config
from lb.pool import Pool
from lb.timing import Timings

__all__ = ["Carrier", "CarrierError", "Commit", "Opened"]

Opened: TypeAlias = Mapping[Place, list[socket.socket]]
"""Sockets that have just been bound, by the listener and the address that they are for."""
Commit: TypeAlias = Callable[[Sequence[Backend]], Awaitable[None]]
"""Change over now; to be called right after the pools have changed, with the servers that left."""


class CarrierError(Exception):
    """The traffic cannot be carried as asked; the text says why, in one line."""


class Carrier(Protocol):
    """Accepts, connects and splices, for the pools whose health it is told of."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Carry for ever. The other calls may come once it has started."""

    @property
    def open_connections(self) -> int: ...

    @property
    def listening(self) -> Opened:
        """The sockets of all listeners. They stay the carrier's."""

    def change(self, config: Config, opened: Opened) -> AbstractAsyncContextManager[Commit]:
        """Prepare for another configuration, which takes effect if the block calls what it gets.

        Raises CarrierError if that cannot be. The sockets belong to the carrier from the commit on.
        """

    def health_changed(self, pool: Pool, backend: Backend, change: Change | None) -> None:
        """A server is up, down or ejected now; or (with None) wants something else than before."""

    def resolved(self, pool: Pool, backend: Backend) -> None:
        """The addresses of a server, or their order, have changed."""

    def active(self, listener: str) -> int:
        """Open connections of a listener."""

    async def survey(self) -> Survey:
        """What the traffic has added up to, if that is counted; see :class:`lb.model.AdminSpec`."""

    async def timings(self, pool: str) -> Timings:
        """How long the pool's servers took since the last time, if that is measured; see OutlierSpec."""

    async def live(self, wanted: Wanted) -> list[LiveConnection]:
        """Open connections, of all that fit, the oldest first."""

    async def cut(self, wanted: Wanted) -> int:
        """Close all open connections that fit, as ``stopped``; returns how many."""

    async def stop_listening(self, elsewhere: Collection[Place] = ()) -> None:
        """Accept what waits in the backlogs, and nobody after that. Open connections live on.

        Sockets that are ``elsewhere``, too, are let go of as they are: who waits there is not ours any more.
        """

    def look_again(self) -> None:
        """Another process may have left clients in the backlogs that only it was told of."""

    async def none_open(self) -> None:
        """Return when no connection is open, once nobody listens."""

    async def end(self) -> None:
        """Close what is still open, as ``stopped``."""
