from collections import Counter

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.round_robin import RoundRobin
from strategies.weighted import Weighted
from tests.support.strategy_driver import CLIENT, make_servers, picked_names, start, use

weights = st.lists(st.integers(1, 6), min_size=1, max_size=8)
operations = st.lists(
    st.tuples(
        st.sampled_from(["enable", "disable", "share", "reload", "retry", "pick", "pick", "picks"]), st.integers(0, 50)
    )
)


class NaiveWeighted:
    """nginx's loop as documented: every server gains, the one with the highest credit pays."""

    def __init__(self, servers):
        self.credit = dict.fromkeys(servers, 0)

    def pick(self, candidates):
        if not candidates:
            return None
        for server in candidates:
            self.credit[server] += server.weight * server.share
        winner = max(candidates, key=self.credit.__getitem__)  # max keeps the first of equals
        self.credit[winner] -= sum(server.weight * server.share for server in candidates)
        return winner

    def limit(self, servers):
        most = sum(server.weight * server.share for server in servers)
        self.credit = {server: max(-most, min(self.credit[server], most)) for server in servers}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([5, 1, 1], "1 1 2 1 3 1 1"),
        ([4, 2, 1], "1 2 1 3 1 2 1"),
        ([1, 1, 1], "1 2 3"),
        ([2, 3], "2 1 2 1 2"),
    ],
)
def test_the_sequence_is_that_of_nginx(weights, expected):
    names = [f"s{number}" for number in expected.split()]
    assert picked_names(start(Weighted(), make_servers(*weights)), 2 * len(names)) == 2 * names


@given(weights)
@settings(deadline=None)
def test_over_a_cycle_the_counts_equal_the_weights(weights):
    servers = make_servers(*weights)
    strategy = start(Weighted(), servers)
    for _ in range(2):
        counts = Counter(strategy.pick(CLIENT, ()) for _ in range(sum(weights)))
        assert [counts[server] for server in servers] == weights


@given(weights, operations)
@settings(max_examples=300, deadline=None)
def test_the_sequence_is_that_of_the_naive_algorithm_through_changes_and_retries(weights, operations):
    servers = make_servers(*weights)
    strategy, naive = start(Weighted(), servers), NaiveWeighted(servers)
    available = set(servers)
    for operation, number in operations:
        server = servers[number % len(servers)]
        if operation == "enable":
            strategy.enable(server)
            available.add(server)
        elif operation == "disable":
            strategy.disable(server)
            available.discard(server)
        elif operation == "share":
            server.share = 50 + 25 * (number % 3)
            strategy.share_changed(server)
        elif operation == "reload":
            servers = [*servers[number % len(servers) :], *servers[: number % len(servers)]]
            use(strategy, servers)
            naive.limit(servers)
        else:
            tried = [server] if operation == "retry" else []
            for _ in range(number if operation == "picks" else 1):
                expected = naive.pick([s for s in servers if s in available and s not in tried])
                assert strategy.pick(CLIENT, tried) is expected


def test_a_reload_that_changes_nothing_does_not_disturb_the_sequence():
    servers = make_servers(5, 1, 1)
    strategy = start(Weighted(), servers)
    names = []
    for _ in range(7):
        names += picked_names(strategy, 1)
        use(strategy, servers)
    assert names == ["s1", "s1", "s2", "s1", "s3", "s1", "s1"]


def test_credits_follow_the_server_when_it_is_reweighted_and_moved():
    first, second, third = make_servers(2, 2, 2)
    strategy = start(Weighted(), [first, second, third])
    assert picked_names(strategy, 1) == ["s1"]
    second.spec = attrs.evolve(second.spec, weight=1)
    use(strategy, [third, first, second])
    assert picked_names(strategy, 2) == ["s3", "s2"]  # the first has had its turn


@pytest.mark.parametrize("before", [(1000, 1, 1), (1, 1000, 1)])
def test_a_server_made_light_neither_starves_nor_bursts(before):
    servers = make_servers(*before)
    strategy = start(Weighted(), servers)
    picked_names(strategy, 500)
    for server in servers:
        server.spec = attrs.evolve(server.spec, weight=1)
    use(strategy, servers)
    names = picked_names(strategy, 30)
    assert all(7 <= names.count(server.name) <= 13 for server in servers)


@given(weights, st.lists(st.integers(1, 100), min_size=8, max_size=8), st.integers(0, 30))
@settings(deadline=None)
def test_over_a_cycle_the_counts_equal_the_shares_of_the_weights(weights, shares, picks):
    servers = make_servers(*weights)
    strategy = start(Weighted(), servers)
    picked_names(strategy, picks)
    for server, share in zip(servers, shares, strict=False):
        server.share = share
        strategy.share_changed(server)
    one_round = sum(server.weight * server.share for server in servers)
    picked_names(strategy, 3 * len(servers))  # how long the earlier credits last
    counts = Counter(picked_names(strategy, one_round))
    assert all(abs(counts[server.name] - server.weight * server.share) <= 2 for server in servers)


def test_a_share_changes_the_sequence_as_the_weight_would():
    servers = make_servers(4, 2, 1)
    servers[0].share = 50
    strategy = start(Weighted(), servers)
    assert picked_names(strategy, 5) == picked_names(start(Weighted(), make_servers(2, 2, 1)), 5)


@pytest.mark.parametrize("before", [(1000, 1, 1), (1, 1000, 1)])
def test_a_server_that_wants_little_neither_starves_nor_bursts(before):
    """A hundredth of its weight is still ten times that of the others."""
    servers = make_servers(*before)
    strategy = start(Weighted(), servers)
    picked_names(strategy, 500)
    heavy = max(servers, key=lambda server: server.weight)
    heavy.share = 1
    strategy.share_changed(heavy)
    names = picked_names(strategy, 120)
    assert 90 <= names.count(heavy.name) <= 110
    assert all(5 <= names.count(server.name) <= 20 for server in servers if server is not heavy)


def test_a_share_that_a_server_wants_while_it_is_out_counts_when_it_returns():
    servers = make_servers(1, 1)
    strategy = start(Weighted(), servers)
    strategy.disable(servers[0])
    servers[0].share = 50
    strategy.share_changed(servers[0])
    strategy.enable(servers[0])
    assert Counter(picked_names(strategy, 30)) == {"s1": 10, "s2": 20}


def test_a_server_that_returns_makes_no_burst():
    servers = make_servers(1, 1, 1, 1)
    strategy = start(Weighted(), servers)
    strategy.disable(servers[0])
    picked_names(strategy, 3000)
    strategy.enable(servers[0])
    assert picked_names(strategy, 12).count("s1") in {3, 4}


def test_a_known_cycle_goes_on_until_a_change_and_keeps_the_credits():
    servers = make_servers(5, 1, 3, 3, 1, 1)
    strategy, naive = start(Weighted(), servers), NaiveWeighted(servers)
    for picks in (7, 14, 3 * 14 + 5):
        assert [strategy.pick(CLIENT, ()) for _ in range(picks)] == [naive.pick(servers) for _ in range(picks)]
        for tried in (servers[:1], servers[2:4]):
            left = [server for server in servers if server not in tried]
            assert strategy.pick(CLIENT, tried) is naive.pick(left)


def test_the_order_repeats_itself_only_once_earlier_credits_have_levelled_out():
    servers = make_servers(9, 1, 1)
    strategy, naive = start(Weighted(), servers), NaiveWeighted(servers)
    strategy.disable(servers[1])
    assert [strategy.pick(CLIENT, ()) for _ in range(5)] == [naive.pick([servers[0], servers[2]]) for _ in range(5)]
    servers[0].share = 50
    strategy.share_changed(servers[0])
    strategy.enable(servers[1])
    assert [strategy.pick(CLIENT, ()) for _ in range(5000)] == [naive.pick(servers) for _ in range(5000)]


def test_a_cycle_that_is_too_long_to_keep_has_the_same_order(monkeypatch):
    monkeypatch.setattr("strategies.weighted.MAX_CYCLE", 10)
    servers = make_servers(7, 3, 5)
    strategy, naive = start(Weighted(), servers), NaiveWeighted(servers)
    assert [strategy.pick(CLIENT, ()) for _ in range(100)] == [naive.pick(servers) for _ in range(100)]


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 40))
def test_equal_weights_take_the_turns_of_round_robin(count, weight, picks):
    servers = make_servers(*[weight] * count)
    assert picked_names(start(Weighted(), servers), picks) == picked_names(start(RoundRobin(), servers), picks)


@given(st.integers(1, 9), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_equal_weights_begin_where_round_robin_begins(count, begin):
    """Each worker begins at another place of the list, so that few connections are even over all."""
    found = []
    for strategy in (Weighted(), RoundRobin()):
        strategy.start = begin
        found.append(picked_names(start(strategy, make_servers(*[2] * count)), 2 * count))
    assert found[0] == found[1]


@given(weights, st.floats(0, 0.99))
def test_wherever_the_turns_begin_the_counts_equal_the_weights(weights, begin):
    strategy = Weighted()
    strategy.start = begin
    start(strategy, servers := make_servers(*weights))
    picks = 10 * sum(weights)
    chosen = Counter(picked_names(strategy, picks))
    assert all(abs(chosen[server.name] - 10 * server.weight) <= 2 for server in servers)
