"""The calls that a pool makes to its strategy, for code without a pool: ``lb diff``, the strategy kit, tests."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Generator, Sequence
from typing import TypeVar

from lb.model import Server
from lb.model.address import Client
from strategies.base import Strategy

__all__ = ["client", "finish", "lease", "release", "start", "use"]

T = TypeVar("T")
S = TypeVar("S", bound=Strategy)

_FIRST = int(ipaddress.IPv4Address("10.0.0.0"))
_APART = 1_677  # spreads 10,000 clients over 10.0.0.0/8


def client(number: int) -> Client:
    """Return one of 10,000 clients; each has its own address and port."""
    return Client(str(ipaddress.IPv4Address(_FIRST + number * _APART)), 1024 + number)


def finish(building: Generator[None, None, T]) -> T:
    """Run a build to its end and return its result."""
    while True:
        try:
            next(building)
        except StopIteration as done:
            result: T = done.value
            return result


def use(strategy: Strategy, servers: Sequence[Server]) -> None:
    """Apply a list of servers, as at a reload. New servers are not available yet."""
    strategy.use(servers, finish(strategy.build([server.spec for server in servers])))


def start(strategy: S, servers: Sequence[Server]) -> S:
    """Apply a list of servers and make them all available. Returns the strategy."""
    use(strategy, servers)
    for server in servers:
        strategy.enable(server)
    return strategy


def lease(strategy: Strategy, for_client: Client, tried: Collection[Server] = ()) -> Server | None:
    """Pick a server and acquire a lease, as the pool does: the connection counts from the pick."""
    server = strategy.pick(for_client, tried)
    if server is not None:
        server.leases.add(1)
        strategy.load_changed(server)
    return server


def release(strategy: Strategy, server: Server) -> None:
    """Release a lease, as at the end of a connection."""
    server.leases.add(-1)
    strategy.load_changed(server)
