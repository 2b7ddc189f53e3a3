"""Messages between the supervisor and its workers."""

from __future__ import annotations

from typing import Literal

import attrs

from healthcheck.mirror import HealthStatus, Use
from lb.model import Config, ServerSpec
from lb.model.address import Address, SocketAddress
from lb.model.binds import BindingChanges, Place
from lb.model.connection import ConnectionFilter
from lb.model.purge import Purge, Purged

__all__ = [
    "ChangeServer",
    "CloseAll",
    "Commit",
    "Done",
    "HealthChanged",
    "Lines",
    "LookUp",
    "Prepare",
    "PurgeKeys",
    "PurgeMatching",
    "PurgeOthers",
    "PurgedByAll",
    "PurgedByOthers",
    "Query",
    "Resolved",
    "Rollback",
    "ServerFailed",
    "ServerWorked",
    "Start",
    "StopListening",
]


# From the supervisor. Start, Prepare, Commit, ChangeServer, Query, PurgeKeys, PurgeMatching, LookUp and StopListening
# are orders: the worker replies with Done.


@attrs.frozen
class Start:
    """The first message. Descriptors: the shared counters, then the wakeup eventfd of each worker."""

    index: int
    workers: int
    secret: bytes = attrs.field(repr=False)
    """All workers accept each other's TLS session tickets and sticky cookies."""
    turns_begin: float
    """Where the turns of the first worker begin in a list of servers, 0 to 1; the others follow."""


@attrs.frozen
class Prepare:
    """Prepare another configuration. Descriptors: the sockets of ``opened``."""

    config: Config
    slots: dict[str, int]
    changes: BindingChanges
    opened: tuple[tuple[Place, int], ...]
    """The listening places, with the number of sockets of each."""
    at_start: bool
    """As for :meth:`lb.pools.pool.Pool.prepare`."""


@attrs.frozen
class ChangeServer:
    """Change a server's weight, or let it drain, at once."""

    pool: str
    server: ServerSpec


@attrs.frozen
class Commit:
    """Apply the prepared configuration now."""

    statuses: dict[tuple[str, str], HealthStatus]
    """Health by pool and server; default values are omitted."""
    targets: dict[Address, tuple[SocketAddress, ...]]
    """Resolved host names."""
    changed: tuple[ChangeServer, ...]
    """Servers that have changed since the configuration was prepared."""


@attrs.frozen
class Rollback:
    """Discard the configuration that was prepared or is being prepared."""


@attrs.frozen
class HealthChanged:
    """The health of a server has changed."""

    pool: str
    server: str
    status: HealthStatus


@attrs.frozen
class Resolved:
    """The addresses of a server have changed; the preferred one is first."""

    pool: str
    server: str
    targets: tuple[SocketAddress, ...]


@attrs.frozen
class StopListening:
    """Accept the clients in the backlogs, stop listening, and exit once no connection is open."""

    elsewhere: frozenset[Place]
    """Places that another process has taken over, with the clients in their backlogs."""


@attrs.frozen
class CloseAll:
    """Close all connections with reason ``stopped`` and exit."""


@attrs.frozen
class Query:
    """A call of the method ``about`` of :class:`lb.dataplane.plane.DataPlane`; the reply has its result."""

    about: Literal["stats", "timings", "live", "cut"]
    only: ConnectionFilter


@attrs.frozen
class PurgeKeys:
    """Purge caches by key. The reply has a :class:`lb.model.purge.Purged` for each purge."""

    purges: tuple[tuple[str, Purge], ...]
    """Each with the zone."""


@attrs.frozen
class PurgeMatching(PurgeKeys):
    """Purge caches in other ways. It takes longer: the worker looks at all that is stored."""


@attrs.frozen
class LookUp:
    """Look for responses with a key in a cache; the reply has them."""

    zone: str
    key: bytes


@attrs.frozen
class PurgedByAll:
    """All workers have done an order to purge: none answers another one with what was purged."""


@attrs.frozen
class PurgedByOthers:
    """The other workers have done what :class:`PurgeOthers` asked for."""

    to: type[PurgeKeys]
    purged: tuple[Purged, ...]
    """For each purge."""


# From a worker


@attrs.frozen
class PurgeOthers:
    """Give this order to the other workers, and tell when they have done it: clients of this one wait."""

    worker: int
    """Who sends it."""
    order: PurgeKeys


@attrs.frozen
class Done:
    """The reply to an order of the type ``to``."""

    to: type[object]
    error: str = ""
    """Why the order failed; empty on success."""
    answer: object = None
    """The result of a query."""


@attrs.frozen
class ServerFailed:
    """A connect or a request to this server failed because of the server or the network."""

    pool: str
    server: str
    what: Use
    error: str


@attrs.frozen
class ServerWorked:
    """A connect or a request to this server succeeded, and the supervisor needs to know."""

    pool: str
    server: str
    what: Use


@attrs.frozen
class Lines:
    """Log lines, without the final newline."""

    text: str
    count: int
