"""A route from a listener to a pool, with the timeouts and the server handshake of its connections."""

from __future__ import annotations

import attrs

from lb.model import ListenerSpec
from lb.net.deadlines import DeadlineQueue, Deadlines
from lb.net.outgoing import Outgoing
from lb.net.tcp import keepalive_options, socket_options
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
    socket_options: tuple[tuple[int, int, int], ...]
    """Options of TCP sockets towards servers, set after the connect."""
    keepalive_options: tuple[tuple[int, int, int], ...]
    """Options of keep-alive, set once a connection has lasted for a while: most end before, and save the calls."""
    keepalive_queue: DeadlineQueue | None
    """The queue until then; None without keep-alive. The kernel counts the idle time before that too."""
    outgoing: Outgoing | None
    """Settings of sockets towards servers before the connect; None if there are none."""
    same_port: bool
    """Some servers have no port of their own: the connect goes to the port that the client came to."""
    plain: bool = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.outgoing is None and not self.same_port, takes_self=True)
    )
    """Connects need neither of these."""


def make_route(pool: Pool, listener: ListenerSpec, deadlines: Deadlines, tls: TlsStore) -> Route:
    """Make the route from a listener to a pool."""
    spec = pool.spec
    return Route(
        pool,
        deadlines.queue("connect", spec.connect_timeout),
        deadlines.queue("hold", spec.hold_timeout),
        deadlines.queue("hold", spec.queue_timeout),
        make_handshake(spec, tls),
        socket_options(0, listener.user_timeout),
        keepalive_options(listener.keepalive),
        deadlines.queue("keepalive", listener.keepalive / 2) if listener.keepalive else None,
        Outgoing(spec.source, spec.buffer) if spec.source or spec.buffer else None,
        any(server.address.has_no_port for server in spec.servers),
    )
