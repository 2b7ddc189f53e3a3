"""How many clients of a hash pool get another server from a change: asked of the strategy itself, with a sample."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Generator, Iterator
from typing import TypeVar

from lb.address import Client
from lb.model import PoolSpec, Server
from strategies import registry

__all__ = ["finish", "keys_held", "keys_moved"]

T = TypeVar("T")

_SAMPLE = 10_000  # clients: the share comes out within a percentage point of that of all clients
_FIRST = int(ipaddress.IPv4Address("10.0.0.0"))
_APART = 1_677  # spreads the sample over the whole of 10.0.0.0/8


def keys_moved(old: PoolSpec, new: PoolSpec) -> float | None:
    """The share of clients, 0 to 1, that another server (by name) gets while all are up.

    None if the strategy was not or will not be ``consistent-hash``, or if nothing that its table is made of differs.
    Builds both tables: seconds for a thousand servers.
    """
    if {old.strategy.name, new.strategy.name} != {"consistent-hash"}:
        return None
    if (old.strategy, old.servers) == (new.strategy, new.servers):
        return None
    return sum(before != after for before, after in zip(_homes(old), _homes(new), strict=True)) / _SAMPLE


def keys_held(pool: PoolSpec, names: Collection[str]) -> float:
    """The share of clients, 0 to 1, that get one of these servers while all are up. Builds the table."""
    return sum(home in names for home in _homes(pool)) / _SAMPLE


def _homes(pool: PoolSpec) -> Iterator[str | None]:
    """The server that each client of the sample gets."""
    strategy = registry.create(pool.strategy)
    members = [server for server in pool.servers if server.weight and not server.backup]
    servers = [Server(member) for member in members]
    strategy.use(servers, finish(strategy.build(members)))
    for server in servers:
        strategy.enable(server)
    for number in range(_SAMPLE):
        client = Client(str(ipaddress.IPv4Address(_FIRST + number * _APART)), 1024 + number)
        home = strategy.pick(client, ())
        yield home.name if home else None


def finish(generator: Generator[None, None, T]) -> T:
    """Run a build to its end."""
    while True:
        try:
            next(generator)
        except StopIteration as done:
            result: T = done.value
            return result
