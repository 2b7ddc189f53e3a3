"""Where a listener's clients go: a pool, and what a connection to it needs."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from lb.deadlines import DeadlineQueue, Deadlines
from lb.introduction import Introduction, make_introduction
from lb.pool import Pool
from lb.tls_store import TlsStore

__all__ = ["Route", "find", "make_route"]


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


def find(routes: Mapping[str, Route], name: str) -> Route | None:
    """The route for a name that a client has asked for: its own, or that of the longest wildcard that it ends with."""
    found = routes.get(name)
    while found is None and name:
        _, _, name = name.partition(".")
        found = routes.get(f"*.{name}")
    return found
