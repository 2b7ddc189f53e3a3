from collections import Counter

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.least_conn import ROUND, LeastConn
from tests.support.strategy_driver import lease, make_servers, release, start, use


def test_the_server_with_the_fewest_connections_per_weight_is_next():
    strategy = start(LeastConn(), make_servers(1, 2))
    assert [lease(strategy).name for _ in range(6)] == ["s2", "s1", "s2", "s2", "s1", "s2"]


def test_the_end_of_a_connection_counts():
    strategy = start(LeastConn(), servers := make_servers(1, 1, 1))
    for _ in range(6):
        lease(strategy)
    release(strategy, servers[1])
    assert lease(strategy) is servers[1]


def test_idle_servers_take_turns():
    strategy = start(LeastConn(), make_servers(1, 1, 1))
    names = []
    for _ in range(6):
        server = lease(strategy)
        names.append(server.name)
        release(strategy, server)
    assert names == ["s1", "s2", "s3", "s1", "s2", "s3"]


@given(st.integers(1, 9), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_idle_servers_take_turns_from_where_they_begin(count, begin):
    strategy = LeastConn()
    strategy.start = begin
    start(strategy, servers := make_servers(*[3] * count))
    names = []
    for _ in range(3 * count):
        server = lease(strategy)
        names.append(server.name)
        release(strategy, server)
    first = int(begin * count)
    assert names == 3 * [server.name for server in (*servers[first:], *servers[:first])]


def test_where_the_turns_begin_is_forgotten_once_there_are_servers():
    strategy = LeastConn()
    strategy.start = 0.5
    servers = make_servers(1, 1)
    start(strategy, servers)
    assert lease(strategy) is servers[1]
    use(strategy, servers)
    assert lease(strategy) is servers[0]


def picks_while_idle(strategy, count):
    """Count the picks by server; each connection ends before the next one."""
    chosen = Counter()
    for _ in range(count):
        chosen[server := lease(strategy)] += 1
        release(strategy, server)
    return chosen


def test_idle_servers_take_turns_by_weight():
    """Weights 1 and 65535 got 15 connections each of 30."""
    light, heavy = servers = make_servers(1, 65_535)
    assert picks_while_idle(start(LeastConn(), servers), 30) == {heavy: 30}
    assert picks_while_idle(start(LeastConn(), servers), 66_000)[light] == 1


def test_a_connection_that_is_just_ending_sends_the_next_one_to_no_light_server():
    """A client that closes and comes again is faster than the server's end: weights 1 and 65535 got 15 each of 30."""
    light, heavy = servers = make_servers(1, 65_535)
    strategy = start(LeastConn(), servers)
    ending = lease(strategy)
    for _ in range(30):
        server = lease(strategy)
        release(strategy, ending)
        ending = server
        assert server is heavy
    assert light.load == 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 3))
@settings(deadline=None)
def test_over_a_round_of_idle_servers_the_counts_equal_the_weights(weights, rounds):
    strategy = start(LeastConn(), servers := make_servers(*weights))
    chosen = picks_while_idle(strategy, rounds * sum(weights))
    assert all(abs(chosen[server] - rounds * server.weight) <= 1 for server in servers)


def test_a_server_that_was_busy_or_out_makes_no_burst_when_it_is_idle_again():
    busy, out, third = servers = make_servers(1, 1, 1)
    strategy = start(LeastConn(), servers)
    busy.leases.add(1)
    strategy.load_changed(busy)
    strategy.disable(out)
    assert picks_while_idle(strategy, 1000) == {third: 1000}
    busy.leases.add(-1)
    strategy.load_changed(busy)
    strategy.enable(out)
    assert set(picks_while_idle(strategy, 30).values()) <= {9, 10, 11}


def test_a_server_made_heavy_while_idle_gets_its_part_at_once():
    first, second = servers = make_servers(1, 1)
    strategy = start(LeastConn(), servers)
    picks_while_idle(strategy, 10)
    first.spec = attrs.evolve(first.spec, weight=1000)
    use(strategy, servers)
    assert picks_while_idle(strategy, 100)[second] <= 1
    first.spec = attrs.evolve(first.spec, weight=1)
    use(strategy, servers)
    assert 45 <= picks_while_idle(strategy, 100)[second] <= 55


def test_connections_counted_while_a_server_was_out_are_not_forgotten():
    first, second = servers = make_servers(1, 1)
    strategy = start(LeastConn(), servers)
    strategy.disable(first)
    first.leases.add(5)
    strategy.load_changed(first)
    strategy.enable(first)
    assert [lease(strategy) for _ in range(5)] == [second] * 5


def test_a_reload_keeps_turns_and_takes_the_new_weight():
    first, second = servers = make_servers(1, 1)
    strategy = start(LeastConn(), servers)
    assert lease(strategy) is first
    release(strategy, first)
    use(strategy, servers)
    assert lease(strategy) is second  # the first had its turn before the reload
    assert lease(strategy) is first
    second.spec = attrs.evolve(second.spec, weight=3)
    use(strategy, servers)
    assert [lease(strategy) for _ in range(2)] == [second, second]


operations = st.sampled_from(["lease", "lease", "release", "enable", "disable", "retry", "share"])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.lists(st.tuples(operations, st.integers(0, 5))))
@settings(max_examples=200, deadline=None)
def test_every_pick_is_that_of_a_linear_search(weights, operations):
    servers = make_servers(*weights)
    strategy, available = start(LeastConn(), servers), set(servers)
    now, deadlines = 0, {server: ROUND // (100 * server.weight) for server in servers}
    for operation, number in operations:
        server = servers[number % len(servers)]
        if operation == "share":
            server.share = 1 + 30 * number % 100
            strategy.share_changed(server)
            deadlines[server] = min(deadlines[server], now + ROUND // (server.share * server.weight))
        if operation == "release" and server.active:
            release(strategy, server)
        elif operation == "enable":
            strategy.enable(server)
            available.add(server)
        elif operation == "disable":
            strategy.disable(server)
            available.discard(server)
        elif operation in {"lease", "retry"}:
            tried = [server] if operation == "retry" else []
            possible = [s for s in servers if s in available and s not in tried]
            limit = min((s.next_load for s in possible), default=0)
            expected = min((s for s in possible if s.load < limit), key=lambda s: deadlines[s], default=None)
            assert lease(strategy, tried) is expected
            if expected is not None:
                now = max(now, deadlines[expected])
                deadlines[expected] = now + ROUND // (expected.share * expected.weight)


def test_a_share_of_the_weight_counts_at_once():
    first, second = servers = make_servers(1, 1)
    strategy = start(LeastConn(), servers)
    for _ in range(8):
        lease(strategy)
    second.share = 50
    strategy.share_changed(second)
    assert [lease(strategy) for _ in range(4)] == [first] * 4
    assert first.load == second.load == 8.0


def test_queues_of_loads_that_no_server_has_stay_bounded():
    strategy = start(LeastConn(), servers := make_servers(*[1] * 50))
    busy = servers[7]
    for _ in range(5000):  # queues of high loads never come first
        busy.leases.add(1)
        strategy.load_changed(busy)
    assert len(strategy._queues) == len(strategy._loads) <= 2 * 50 + 17
    assert [lease(strategy) for _ in range(49)] == [server for server in servers if server is not busy]
