"""Where a listener's clients go: a pool, and what a connection to it needs."""

from __future__ import annotations

import attrs

from lb.introduction import Introduction, make_introduction
from lb.pool import Pool
from lb.splicing.deadlines import DeadlineQueue, Deadlines
from lb.tls.store import TlsStore

__all__ = ["Route", "make_route"]


@attrs.frozen(eq=False)
class Route:
    """As the configuration has it. A connection keeps its route, whatever is configured later."""

    pool: Pool
    connect_queue: DeadlineQueue
    hold_queue: DeadlineQueue
    full_queue: DeadlineQueue
    """The same for those who wait because all servers are full."""
    introduction: Introduction | None


def make_route(pool: Pool, deadlines: Deadlines, tls: TlsStore) -> Route:
    """The route to a pool."""
    spec = pool.spec
    return Route(
        pool,
        deadlines.queue("connect", spec.connect_timeout),
        deadlines.queue("hold", spec.hold_timeout),
        deadlines.queue("hold", spec.queue_timeout),
        make_introduction(spec, tls),
    )
