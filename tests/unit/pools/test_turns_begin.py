"""Where turns begin: elsewhere for each node, and always at the same place for a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model import PluginSpec, PoolSpec
from lb.pools.pool import Pool
from lb.pools.turns_begin import turns_begin
from tests.support.pooling import BUILT_IN, CLIENT, servers
from tests.support.strategy_driver import finish

TAKE_TURNS = ("weighted", "round-robin", "least-conn")


def test_without_a_name_they_begin_with_the_first_server():
    assert turns_begin("") == 0.0


@given(st.text(min_size=1))
def test_it_is_a_place_in_the_list(node):
    assert 0 <= turns_begin(node) < 1


def test_a_name_has_one_place_in_all_versions():
    assert (turns_begin("lb1"), turns_begin("lb2")) == pytest.approx((0.8146510386131283, 0.244470538446948))


def test_many_nodes_are_spread_over_the_list():
    assert {int(10 * turns_begin(f"lb{number}")) for number in range(64)} == {*range(10)}


def first_pick(strategy, start, *, backup=False):
    pool = Pool("web", pytest.fail, lambda *_: None, start=start)
    spec = PoolSpec("web", servers("abcd", backup=backup), strategy=PluginSpec(strategy))
    pool.apply(finish(pool.prepare(spec)), {}, 0.0)
    return pool.pick(CLIENT, ()).name


@pytest.mark.parametrize("strategy", TAKE_TURNS)
@pytest.mark.parametrize("backup", [False, True])
def test_the_turns_of_a_pool_begin_there(strategy, backup):
    assert [first_pick(strategy, start, backup=backup) for start in (0.0, 0.3, 0.6, 0.99)] == [*"abcd"]


@pytest.mark.parametrize("strategy", sorted({*BUILT_IN} - {*TAKE_TURNS, "random-two"}))
def test_hashes_and_failover_are_alike_on_all_nodes(strategy):
    assert len({first_pick(strategy, number / 10) for number in range(10)}) == 1
