"""All pools of a process together."""

from __future__ import annotations

from types import SimpleNamespace

from lb.model import PoolSpec
from lb.pools.pool import Pool
from lb.pools.pool_set import Pools
from tests.support.pooling import servers
from tests.support.turns import turns_of

MANY = 200


def test_many_pools_of_one_server_are_prepared_in_turns():
    specs = {name: PoolSpec(name, servers(["a"])) for name in map(str, range(MANY))}
    pools = Pools(lambda name: Pool(name, lambda event: None, lambda pool, backend, change: None))
    prepared = []

    async def prepare():
        prepared.extend(await pools.prepare(SimpleNamespace(pools=specs)))

    assert turns_of(prepare) > MANY / 10
    assert [pool.name for pool, _ in prepared] == [*specs]
