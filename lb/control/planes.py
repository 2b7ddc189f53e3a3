"""Select the data plane of a process. No other module of the control plane depends on the implementations."""

from __future__ import annotations

from collections.abc import Callable

from lb.dataplane.host import Host
from lb.dataplane.plane import DataPlane
from lb.events import Sink
from lb.model import Config
from lb.net.resolver import MAX_LOOK_UPS
from lb.net.sockets import ListeningSockets
from lb.pools.pool_set import Pools

__all__ = ["make_plane"]

RESERVED_DESCRIPTORS = 64
"""Descriptors reserved for the rest of the process; two more per server are reserved for health checks."""


def make_plane(
    config: Config,
    pools: Pools,
    sink: Sink,
    sockets: ListeningSockets,
    *,
    workers: int,
    write: Callable[[str, int], None],
    secret: bytes,
    dedicated: bool,
    host: Host,
    turns_begin: float,
) -> DataPlane:
    """Return the data plane: this process, or ``workers`` processes, which log to ``write(lines, count)``.

    ``dedicated``: this process does nothing else, so its other tasks may wait a millisecond for the traffic.
    ``secret``: for cookies and TLS session tickets. ``turns_begin``: where turns begin in a list of servers, 0 to 1.
    """
    if workers > 1:
        from lb.workers.workers import Workers  # noqa: PLC0415 - not needed in one process

        return Workers(workers, pools, sink, write, sockets, secret, turns_begin)
    from lb.dataplane.local import LocalDataPlane  # noqa: PLC0415 - not needed in a supervisor

    servers = [server for pool in config.pools.values() for server in pool.servers]
    look_ups = min(MAX_LOOK_UPS, sum(server.address.is_name for server in servers))
    reserve = RESERVED_DESCRIPTORS + 2 * len(servers) + look_ups
    return LocalDataPlane(pools, sink, sockets=sockets, reserve=reserve, secret=secret, dedicated=dedicated, host=host)
