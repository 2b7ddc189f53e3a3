"""All pools of a process, which change together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from lb.address import Address, SocketAddress
from lb.backend import Backend
from lb.model import Config, ServerSpec
from lb.pool import Pool, Prepared
from lb.turns import done_in_turns

__all__ = ["Pools", "new_servers"]

SLICE = 0.001
"""Seconds of building tables before traffic gets its turn."""


class Pools:
    """The pools by name; ``new_pool`` makes one."""

    def __init__(self, new_pool: Callable[[str], Pool]) -> None:
        self.by_name: dict[str, Pool] = {}
        self._new_pool = new_pool

    def find(self, pool: str, server: str) -> tuple[Pool | None, Backend | None]:
        """Those that are still in the configuration."""
        found = self.by_name.get(pool)
        return found, found.backends.get(server) if found is not None else None

    async def prepare(self, config: Config) -> list[tuple[Pool, Prepared | None]]:
        """Build what a new configuration needs, beside the traffic; None for a pool that stays as it is.

        Raises what a plug-in raises.
        """
        prepared: list[tuple[Pool, Prepared | None]] = []
        for name, spec in config.pools.items():
            pool = self.by_name.get(name)
            if pool is not None and pool.spec == spec:
                prepared.append((pool, None))
            else:
                pool = pool or self._new_pool(name)
                prepared.append((pool, await done_in_turns(pool.prepare(spec), SLICE)))
        return prepared

    def apply(
        self,
        prepared: Sequence[tuple[Pool, Prepared | None]],
        targets: Mapping[Address, tuple[SocketAddress, ...]],
        now: float,
    ) -> list[Backend]:
        """Take what was prepared. Returns the servers that left."""
        left = []
        for pool, built in prepared:
            if built is not None:
                left += pool.apply(built, targets, now)
        stay = {pool.name: pool for pool, _ in prepared}
        for name, pool in self.by_name.items():
            if name not in stay:
                left += pool.empty(now)
        self.by_name = stay
        return left


def new_servers(prepared: Iterable[tuple[Pool, Prepared | None]]) -> Iterator[ServerSpec]:
    """All servers of the pools that change."""
    return (server for _, built in prepared if built is not None for server in built.spec.servers)
