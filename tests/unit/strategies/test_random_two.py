import random
from collections import Counter

import pytest

from strategies.random_two import RandomTwo
from tests.support.strategy_driver import CLIENT, lease, make_servers, start


def seeded():
    strategy = RandomTwo()
    strategy.rng = random.Random(7)
    return strategy


def test_the_more_loaded_of_two_is_never_chosen():
    light, heavy = servers = make_servers(2, 1)
    strategy = start(seeded(), servers)
    light.leases.add(5)  # 2.5 per unit of weight
    heavy.leases.add(3)
    assert {strategy.pick(CLIENT, ()) for _ in range(50)} == {light}


@pytest.mark.parametrize("loads", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_the_two_are_distinct_and_every_pair_is_equally_likely(loads):
    servers = make_servers(1, 1, 1, 1)
    strategy = start(seeded(), servers)
    for load, server in zip(loads, servers, strict=True):
        server.leases.add(load)
    counts = Counter(strategy.pick(CLIENT, ()).active for _ in range(6000))
    assert counts[3] == 0  # two distinct servers are never both the most loaded one
    for load, pairs_won in enumerate([3, 2, 1]):
        assert abs(counts[load] - 1000 * pairs_won) < 150


def test_the_load_is_far_more_even_than_by_one_draw():
    servers = make_servers(*[1] * 100)
    strategy = start(seeded(), servers)
    for _ in range(10_000):
        lease(strategy)
    assert max(server.active for server in servers) <= 105
    assert min(server.active for server in servers) >= 90


def test_tried_servers_are_left_out_of_the_draw_without_leaving_the_urn():
    servers = make_servers(1, 1, 1, 1)
    strategy = start(seeded(), servers)
    assert {strategy.pick(CLIENT, [servers[0], servers[3]]) for _ in range(50)} == {servers[1], servers[2]}
    assert strategy.pick(CLIENT, servers[1:]) is servers[0]
    assert {strategy.pick(CLIENT, ()) for _ in range(100)} == set(servers)
