"""What an operator has said of single servers while the balancer runs, on top of its configuration. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from lb.model import Config, PoolSpec

__all__ = ["Override", "Overrides", "ServerPlace", "overridden", "still_valid", "weights"]

ServerPlace: TypeAlias = tuple[str, str]
"""A pool's name, and that of one of its servers."""


@attrs.frozen
class Override:
    """Of one server."""

    drained: bool = False
    """It gets no new connections, as with weight 0."""
    weight: int | None = None
    """In place of the configured one; None = that one."""

    def applied_to(self, weight: int) -> int:
        """The weight in force of a server that is configured with this one."""
        if self.drained:
            return 0
        return weight if self.weight is None else self.weight


Overrides: TypeAlias = Mapping[ServerPlace, Override]


def overridden(config: Config, overrides: Overrides) -> Config:
    """The configuration with what was said. Pools of which nothing was said stay the same object."""
    spoken_of = {pool for pool, _ in overrides}
    pools = {name: _pool(pool, overrides) if name in spoken_of else pool for name, pool in config.pools.items()}
    return attrs.evolve(config, pools=pools)


def _pool(pool: PoolSpec, overrides: Overrides) -> PoolSpec:
    servers = tuple(
        attrs.evolve(server, weight=overrides.get((pool.name, server.name), Override()).applied_to(server.weight))
        for server in pool.servers
    )
    return attrs.evolve(pool, servers=servers)


def still_valid(
    overrides: Overrides, before: Mapping[ServerPlace, int], after: Mapping[ServerPlace, int]
) -> dict[ServerPlace, Override]:
    """What a new configuration leaves standing: all but what it contradicts. ``before`` and ``after`` are weights.

    It does so where it gives a server another weight than the old one did, or does not have the server any more.
    """
    return {
        place: said
        for place, said in overrides.items()
        if place in after and before.get(place, after[place]) == after[place]
    }


def weights(config: Config) -> dict[ServerPlace, int]:
    """Those of all servers, as a configuration has them."""
    return {(pool.name, server.name): server.weight for pool in config.pools.values() for server in pool.servers}
