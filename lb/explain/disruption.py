"""The share of clients that a change moves to another server in a consistent-hash pool, measured with a sample.

A table of a thousand servers takes 0.1 s to build, and one of the largest size several seconds, so it is built in
slices.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import TYPE_CHECKING, cast

import attrs

from lb.model import PoolSpec, Server, ServerSpec
from strategies import registry
from strategies.base import Strategy
from strategies.driver import client, finish

if TYPE_CHECKING:
    from strategies.consistent_hash import ConsistentHash

__all__ = ["keys_moved", "keys_moved_without"]

_SAMPLE = 10_000  # clients, each with its own request: the share is accurate to a percentage point
_SLICE = 16
"""Clients looked up between yields; takes under 0.1 ms."""
HASH = "consistent-hash"


def keys_moved(old: PoolSpec, new: PoolSpec) -> float | None:
    """Return the share of clients, 0 to 1, that get a server with another name while all servers are up.

    None if a strategy is not ``consistent-hash``, if neither the strategy nor the servers differ, or if one of the
    pools has no server.
    """
    if {old.strategy.name, new.strategy.name} != {HASH} or not (_members(old) and _members(new)):
        return None
    if (old.strategy, old.servers) == (new.strategy, new.servers):
        return None
    return _differing(finish(_homes_in(old)), finish(_homes_in(new)))


def keys_moved_without(
    pool: PoolSpec, running: Sequence[Strategy], names: Collection[str]
) -> Generator[None, None, dict[str, float] | None]:
    """Return the shares of clients, 0 to 1, that get another server if these are ``down``, and if they are ``removed``.

    All other servers are assumed up. ``running`` are the strategies of the pool's primaries and of its backups, which
    have a table already. None if the strategy is not ``consistent-hash``, or if no server is left. Yields between
    slices.
    """
    rest = attrs.evolve(pool, servers=tuple(server for server in pool.servers if server.name not in names))
    if pool.strategy.name != HASH or not _members(rest):
        return None
    now = next(strategy for strategy in running if strategy.servers)
    before = yield from _homes(cast("ConsistentHash", now))
    after = before
    if _members(rest) != _members(pool):
        after = yield from _homes_in(rest)
    return {"down": sum(home in names for home in before) / _SAMPLE, "removed": _differing(before, after)}


def _members(pool: PoolSpec) -> list[ServerSpec]:
    """Return the servers that the strategy chooses from while all are up."""
    members = [server for server in pool.servers if server.weight]
    return [server for server in members if not server.backup] or members


def _homes_in(pool: PoolSpec) -> Generator[None, None, list[str]]:
    members = _members(pool)
    strategy = cast("ConsistentHash", registry.create(pool.strategy))
    built = yield from strategy.build(members)
    strategy.use([Server(member) for member in members], built)
    return (yield from _homes(strategy))


def _homes(strategy: ConsistentHash) -> Generator[None, None, list[str]]:
    """Return the name of the server of each client in the sample."""
    names = []
    for home in strategy.homes(map(client, range(_SAMPLE))):
        names.append(home.name)
        if not len(names) % _SLICE:
            yield
    return names


def _differing(before: Sequence[str], after: Sequence[str]) -> float:
    return sum(one != other for one, other in zip(before, after, strict=True)) / _SAMPLE
