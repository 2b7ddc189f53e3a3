"""Settings of a pool that have no effect under its strategy."""

from __future__ import annotations

from typing import Literal, TypeAlias

from lb.model import DnsSource, PoolSpec, ServerSpec
from strategies import registry

__all__ = ["Ignorable", "ignored"]

Ignorable: TypeAlias = Literal["weight", "slow_start"]


def ignored(pool: PoolSpec) -> tuple[Ignorable, ...]:
    """Return which settings have no effect: weights that differ and are not 0, slow start.

    Primaries and backups are compared among themselves. Raises ValueError for an unknown strategy.
    """
    strategy = registry.load(pool.strategy.name)
    found: list[Ignorable] = []
    if not strategy.uses_weights:
        members: list[ServerSpec | DnsSource] = [*pool.servers, *pool.dns]
        weights = {(member.backup, member.weight) for member in members if member.weight}
        if len(weights) > len({backup for backup, _ in weights}):
            found.append("weight")
    if pool.slow_start and not strategy.uses_shares:
        found.append("slow_start")
    return tuple(found)
