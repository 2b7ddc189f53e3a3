import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_idle_servers_are_chosen_by_weight():
    """Weights 1 and 65535 got 15 connections each of 30."""
    light, heavy = servers = make_servers(1, 65_535)
    strategy = start(seeded(), servers)
    assert Counter(strategy.pick(CLIENT, ()) for _ in range(30)) == {heavy: 30}
    assert strategy.pick(CLIENT, [heavy]) is light


def test_a_connection_that_is_just_ending_sends_the_next_one_to_no_light_server():
    light, heavy = servers = make_servers(1, 65_535)
    strategy = start(seeded(), servers)
    heavy.leases.add(1)
    assert Counter(strategy.pick(CLIENT, ()) for _ in range(1000))[light] <= 1


@pytest.mark.parametrize("weights", [(1, 2, 3, 4), (7, 7, 1), (5, 1, 5, 1, 5)])
def test_the_first_of_two_is_drawn_in_proportion_to_its_weight(weights):
    strategy = start(seeded(), servers := make_servers(*weights))
    chosen = Counter(strategy.pick(CLIENT, ()) for _ in range(20_000))
    for server in servers:
        assert chosen[server] / 20_000 == pytest.approx(server.weight / sum(weights), abs=0.015)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=7), st.integers(0, 3), st.integers()
)
@settings(max_examples=25, deadline=None)
def test_explain_tells_the_chances(weights_and_leases, out, seed):
    servers = make_servers(*(weight for weight, _ in weights_and_leases))
    strategy = start(RandomTwo(), servers)
    strategy.rng = random.Random(seed)
    for server, (_, leases) in zip(servers, weights_and_leases, strict=True):
        server.leases.add(leases)
    for server in servers[1 : 1 + out]:
        strategy.disable(server)
    expected = {
        server: figures.get("share", 0) for server, figures in strategy.explain(CLIENT, strategy.available).order
    }
    assert sum(expected.values()) == pytest.approx(1)
    chosen = Counter(strategy.pick(CLIENT, ()) for _ in range(3000))
    assert all(chosen[server] / 3000 == pytest.approx(expected[server], abs=0.05) for server in servers)


def test_a_share_of_the_weight_counts_at_once():
    first, second = servers = make_servers(10, 10)
    strategy = start(seeded(), servers)
    second.share = 1
    strategy.share_changed(second)
    assert Counter(strategy.pick(CLIENT, ()) for _ in range(1000))[first] > 970
