"""Where a pool that hashes places a client. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from lb.model import Server
from lb.model.address import Client
from lb.pools.backend import Backend
from lb.pools.pool import Pool
from strategies.consistent_hash import ConsistentHash

__all__ = ["hashes", "placed"]


def hashes(pool: Pool) -> bool:
    """Return whether a client has a server of its own in this pool, whichever balancer it comes to."""
    return any(isinstance(group.strategy, ConsistentHash) for group in pool.groups)


def placed(pool: Pool, client: Client, takes_connects: Callable[[Backend], bool]) -> str | None:
    """Return the name of the server that this client would get now from a pool that hashes; None if there is none.

    A server that takes no connects is passed over, as after a failed connect.
    """
    for group in pool.groups:
        tried: list[Server] = []
        while (server := group.strategy.pick(client, tried)) is not None:
            if isinstance(server, Backend) and takes_connects(server):
                return server.name
            tried.append(server)
    return None
