"""The calls that a pool makes of its strategy, for whoever asks one without a pool: ``lb diff``, the kit, tests."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Generator, Sequence
from typing import TypeVar

from lb.address import Client
from lb.model import Server
from strategies.base import Strategy

__all__ = ["client", "finish", "lease", "release", "start", "use"]

T = TypeVar("T")
S = TypeVar("S", bound=Strategy)

_FIRST = int(ipaddress.IPv4Address("10.0.0.0"))
_APART = 1_677  # spreads 10,000 clients over the whole of 10.0.0.0/8


def client(number: int) -> Client:
    """One of 10,000 clients, each with an address and a port of its own."""
    return Client(str(ipaddress.IPv4Address(_FIRST + number * _APART)), 1024 + number)


def finish(building: Generator[None, None, T]) -> T:
    """Run a build to its end and return what it made."""
    while True:
        try:
            next(building)
        except StopIteration as done:
            result: T = done.value
            return result


def use(strategy: Strategy, servers: Sequence[Server]) -> None:
    """Give it this list, as at a reload. Those that are new to it are not available yet."""
    strategy.use(servers, finish(strategy.build([server.spec for server in servers])))


def start(strategy: S, servers: Sequence[Server]) -> S:
    """Give it this list, all of it available. Returns the strategy."""
    use(strategy, servers)
    for server in servers:
        strategy.enable(server)
    return strategy


def lease(strategy: Strategy, who: Client, tried: Collection[Server] = ()) -> Server | None:
    """Pick as the pool does: the connection counts from the pick."""
    server = strategy.pick(who, tried)
    if server is not None:
        server.leases.add(1)
        strategy.load_changed(server)
    return server


def release(strategy: Strategy, server: Server) -> None:
    """The connection has ended."""
    server.leases.add(-1)
    strategy.load_changed(server)
