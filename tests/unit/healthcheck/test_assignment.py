from collections import Counter

import hypothesis.strategies as st
from hypothesis import given

from healthcheck.assignment import CHECKERS, checkers, position

NODES = st.lists(st.text(min_size=1), unique=True, max_size=12)
SERVERS = [f"web/10.0.{number // 250}.{number % 250}:80" for number in range(1000)]
MANY = [f"lb{number}" for number in range(64)]


@given(NODES, st.text(), st.randoms())
def test_all_who_know_the_same_nodes_agree_in_whatever_order_they_heard_of_them(nodes, server, rng):
    shuffled = rng.sample(nodes, len(nodes))
    assert checkers(server, nodes) == checkers(server, set(shuffled)) == checkers(server, shuffled)


@given(NODES, st.text())
def test_three_check_a_server_or_all_if_there_are_fewer(nodes, server):
    found = checkers(server, nodes)
    assert len(found) == len({*found} & {*nodes}) == min(CHECKERS, len(nodes))


@given(NODES, st.text())
def test_a_node_is_a_checker_if_fewer_than_three_come_before_it(nodes, server):
    first = checkers(server, nodes)
    assert {node for node in nodes if position(server, node, nodes) < CHECKERS} == {*first}
    assert sorted(position(server, node, nodes) for node in nodes) == list(range(len(nodes)))
    for node in nodes:
        assert position(server, node, first) == min(position(server, node, nodes), len(first))


@given(NODES.filter(bool), st.text(), st.data())
def test_when_a_node_leaves_only_its_own_place_is_taken(nodes, server, data):
    left = data.draw(st.sampled_from(nodes))
    was, then = checkers(server, nodes), checkers(server, [node for node in nodes if node != left])
    if left in was:
        assert then[: CHECKERS - 1] == tuple(node for node in was if node != left)
    else:
        assert then == was


def test_the_load_is_spread_evenly():
    counts = Counter(node for server in SERVERS for node in checkers(server, MANY))
    assert len(counts) == len(MANY)
    mean = CHECKERS * len(SERVERS) / len(MANY)  # 47, with a standard deviation of 7
    assert 0.5 * mean < min(counts.values()) <= max(counts.values()) < 1.6 * mean


def test_little_moves_when_a_node_leaves():
    moved = [server for server in SERVERS if checkers(server, MANY) != checkers(server, MANY[1:])]
    assert len(moved) == sum(MANY[0] in checkers(server, MANY) for server in SERVERS) < 80


def test_the_order_is_that_of_earlier_versions():
    """Nodes of two versions stand beside each other during an upgrade."""
    assert checkers("web/a", MANY) == ("lb12", "lb59", "lb11")
    assert checkers("api/a", MANY) == ("lb7", "lb55", "lb40")
