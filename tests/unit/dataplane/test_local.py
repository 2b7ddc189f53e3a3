"""The data plane of one process: what it has at a moment."""

from __future__ import annotations

from lb.dataplane.local import LocalDataPlane
from lb.net.sockets import ListeningSockets
from lb.pools.pool_set import Pools


def no_pool(name):
    raise AssertionError(name)


async def test_kept_connections_are_those_of_the_moment(nursery):
    events, kept = [], {"backend": 3}
    plane = LocalDataPlane(Pools(no_pool), events.append, sockets=ListeningSockets(), reserve=0, dedicated=False)
    await nursery.start(plane.run)
    assert (await plane.stats()).kept_connections == {}
    plane._context.kept_connections = lambda: kept
    stats = await plane.stats()
    kept["backend"] = 5
    assert stats.kept_connections == {"backend": 3}
    assert (await plane.stats()).kept_connections == {"backend": 5}
    assert events == []
