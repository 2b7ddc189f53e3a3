"""All pools of a process. A reload changes them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from lb.model import Config, ServerSpec
from lb.model.address import Address, SocketAddress
from lb.net.cooperate import done_in_turns, in_turns
from lb.pools.backend import Backend
from lb.pools.pool import Pool, Prepared

__all__ = ["Pools", "new_servers"]

BUILD_TURN = 0.001
"""Seconds of table building between yields to traffic."""


class Pools:
    """The pools by name; ``new_pool`` creates one."""

    def __init__(self, new_pool: Callable[[str], Pool]) -> None:
        self.by_name: dict[str, Pool] = {}
        self._new_pool = new_pool

    def find(self, pool: str, server: str) -> tuple[Pool | None, Backend | None]:
        """Return a configured pool and its server; None for each that does not exist."""
        found = self.by_name.get(pool)
        return found, found.backends.get(server) if found is not None else None

    @property
    def need_build(self) -> bool:
        """True if a pool has tables to build: see :attr:`lb.pools.pool.Pool.needs_build`."""
        return any(pool.needs_build for pool in self.by_name.values())

    async def prepare(self, config: Config, *, at_start: bool = False) -> list[tuple[Pool, Prepared | None]]:
        """Build the tables for a new configuration without blocking traffic; None for an unchanged pool.

        ``at_start`` as for :meth:`lb.pools.pool.Pool.prepare`. Raises any error of a plug-in.
        """
        prepared: list[tuple[Pool, Prepared | None]] = []
        async for name, spec in in_turns(config.pools.items()):
            pool = self.by_name.get(name)
            if pool is not None and pool.spec == spec and not pool.needs_build:
                prepared.append((pool, None))
            else:
                pool = pool or self._new_pool(name)
                prepared.append((pool, await done_in_turns(pool.prepare(spec, at_start=at_start), BUILD_TURN)))
        return prepared

    def apply(
        self,
        prepared: Sequence[tuple[Pool, Prepared | None]],
        targets: Mapping[Address, tuple[SocketAddress, ...]],
        now: float,
    ) -> list[Backend]:
        """Apply the result of :meth:`prepare`. Returns the removed servers."""
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
    """Return the servers that are new or changed."""
    for pool, built in prepared:
        for server in built.spec.servers if built is not None else ():
            known = pool.backends.get(server.name)
            if known is None or known.spec is not server:
                yield server
