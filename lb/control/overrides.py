"""Operator overrides of single servers, applied on top of the configuration. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from lb.model import Config, PoolSpec, ServerSpec

__all__ = [
    "Override",
    "OverrideChange",
    "Overrides",
    "ServerPlace",
    "changed",
    "overridden",
    "still_valid",
    "weights",
]

ServerPlace: TypeAlias = tuple[str, str]
"""Pool name and server name."""


@attrs.frozen
class Override:
    """The override of one server."""

    drained: bool = False
    """The server gets no new connections."""
    weight: int | None = None
    """Weight instead of the configured one; None = the configured one."""

    def applied_to(self, weight: int) -> int:
        """Return the effective weight of a server with this configured weight."""
        if self.drained:
            return 0
        return weight if self.weight is None else self.weight


Overrides: TypeAlias = Mapping[ServerPlace, Override]
OverrideChange: TypeAlias = Mapping[str, Any]
"""What an operator says: ``drained``, ``weight`` or both of an :class:`Override`. The other stays as it is."""


def changed(override: Override, change: OverrideChange) -> Override:
    """Return the override after a change."""
    return attrs.evolve(override, **change)


def overridden(config: Config, overrides: Overrides) -> Config:
    """Return the configuration with the overrides. Pools without an override stay the same object."""
    affected = {pool for pool, _ in overrides}
    pools = {name: _pool(pool, overrides) if name in affected else pool for name, pool in config.pools.items()}
    return attrs.evolve(config, pools=pools)


def _pool(pool: PoolSpec, overrides: Overrides) -> PoolSpec:
    def server(spec: ServerSpec) -> ServerSpec:
        override = overrides.get((pool.name, spec.name))
        if override is None:
            return spec
        weight = spec.weight if override.weight is None else override.weight
        return attrs.evolve(spec, weight=weight, drained=spec.drained or override.drained)

    return attrs.evolve(pool, servers=tuple(map(server, pool.servers)))


def still_valid(
    overrides: Overrides, before: Mapping[ServerPlace, int], after: Mapping[ServerPlace, int]
) -> dict[ServerPlace, Override]:
    """Return the overrides that survive a new configuration. ``before`` and ``after`` are configured weights.

    An override ends if the new configuration changes the server's weight or removes the server.
    """
    return {
        place: override
        for place, override in overrides.items()
        if place in after and before.get(place, after[place]) == after[place]
    }


def weights(config: Config) -> dict[ServerPlace, int]:
    """Return the configured weights of all servers."""
    return {(pool.name, server.name): server.weight for pool in config.pools.values() for server in pool.servers}
