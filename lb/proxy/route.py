"""A route from a listener to a pool, with the timeouts and the server handshake of its connections."""

from __future__ import annotations

import attrs

from lb.net.deadlines import DeadlineQueue, Deadlines
from lb.pools.pool import Pool
from lb.proxy.server_handshake import ServerHandshake, make_handshake
from lb.tls.store import TlsStore

__all__ = ["Route", "make_route"]


@attrs.frozen(eq=False)
class Route:
    """A route of the current configuration. A connection keeps its route over a reload."""

    pool: Pool
    connect_queue: DeadlineQueue
    hold_queue: DeadlineQueue
    full_queue: DeadlineQueue
    """Like ``hold_queue``, for connections that queue because all servers are full."""
    handshake: ServerHandshake | None


def make_route(pool: Pool, deadlines: Deadlines, tls: TlsStore) -> Route:
    """Make the route to a pool."""
    spec = pool.spec
    return Route(
        pool,
        deadlines.queue("connect", spec.connect_timeout),
        deadlines.queue("hold", spec.hold_timeout),
        deadlines.queue("hold", spec.queue_timeout),
        make_handshake(spec, tls),
    )
