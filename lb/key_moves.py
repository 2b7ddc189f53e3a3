"""How many clients of a hash pool get another server from a change: asked of the strategy itself, with a sample."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lb.model import PoolSpec, Server
from lb.strategy_kit.drive import client, start
from strategies import registry

__all__ = ["keys_held", "keys_moved"]

_SAMPLE = 10_000  # clients: the share comes out within a percentage point of that of all clients


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
    members = [server for server in pool.servers if server.weight and not server.backup]
    strategy = start(registry.create(pool.strategy), [Server(member) for member in members])
    for number in range(_SAMPLE):
        home = strategy.pick(client(number), ())
        yield home.name if home else None
