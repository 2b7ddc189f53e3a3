"""A weight changes at once, without a new list of servers. Tables are built beside, later."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model import PluginSpec
from lb.model.address import Client
from strategies.consistent_hash import START_ENTRIES
from tests.support.pooling import BUILT_IN, Harness, server, servers
from tests.support.strategy_driver import finish

CLIENTS = [Client(f"10.0.{number}.1", 5555) for number in range(60)]
KETAMA = PluginSpec("consistent-hash", (("table", "ketama"),))


def homes(harness):
    """Return the server of each client."""
    found = {}
    for client in CLIENTS:
        backend = harness.pool.pick(client, ())
        found[client] = backend and backend.name
        if backend is not None:
            harness.pool.release(backend)
    return found


def reweight(harness, name, weight):
    override(harness, name, weight=weight)


def override(harness, name, **changes):
    backend = harness[name]
    harness.pool.override(backend, attrs.evolve(backend.spec, **changes), harness.now)


def build(harness):
    """Build the tables that the pool needs, as the balancer does beside the traffic."""
    harness.pool.apply(finish(harness.pool.prepare(harness.pool.spec)), {}, harness.now)


@pytest.mark.parametrize("closed", [{"drained": True}, {"weight": 0}], ids=["drained", "weight 0"])
@pytest.mark.parametrize("strategy", BUILT_IN)
def test_a_closed_server_gets_nothing_from_now_on_and_is_back_at_once(strategy, closed):
    harness = Harness(*servers("abc"), strategy=PluginSpec(strategy))
    override(harness, "a", **closed)
    assert harness["a"].state == "draining"
    assert {None, "a"}.isdisjoint(homes(harness).values())
    override(harness, "a", weight=1, drained=False)
    assert harness["a"].state == "up"
    assert "a" in homes(harness).values()
    assert not harness.events


def test_turns_follow_a_new_weight_at_once():
    harness = Harness(*servers("ab"), strategy=PluginSpec("weighted"))
    reweight(harness, "b", 3)
    assert harness.picks(40) == {"a": 10, "b": 30}
    assert not harness.pool.needs_build


def test_the_last_server_drained_leaves_none():
    harness = Harness(*servers("a"), strategy=KETAMA)
    override(harness, "a", drained=True)
    assert set(homes(harness).values()) == {None}


def test_a_drained_server_keeps_its_place_in_the_table():
    """Only its own clients move, and they are back at once, whatever was built meanwhile."""
    harness = Harness(*servers("abc"), strategy=KETAMA)
    before = homes(harness)
    override(harness, "b", drained=True)
    assert not harness.pool.needs_build
    build(harness)
    assert {client for client, name in homes(harness).items() if name != before[client]} == {
        client for client, name in before.items() if name == "b"
    }
    override(harness, "b", drained=False)
    assert homes(harness) == before


def test_a_server_that_is_not_in_the_table_yet_gets_nothing_and_does_no_harm():
    """Also when its health changes, or it is removed, before the table is there."""
    harness = Harness(server("a"), server("b", weight=0), strategy=KETAMA)
    reweight(harness, "b", 1)
    for passed in (False, True):
        harness.check("b", passed, 3)
        assert set(homes(harness).values()) == {"a"}
    harness.check("a", False, 3)
    assert set(homes(harness).values()) == {None}
    harness.check("a", True, 3)
    build(harness)
    assert set(homes(harness).values()) == {"a", "b"}
    reweight(harness, "b", 0)
    build(harness)
    reweight(harness, "b", 1)
    harness.reload(server("a"))
    assert set(homes(harness).values()) == {"a"}


CHANGES = st.one_of(
    st.builds(dict, weight=st.integers(0, 3)), st.builds(dict, drained=st.booleans()), st.just({"drained": False})
)
STEPS = st.lists(st.one_of(st.tuples(st.sampled_from("abc"), CHANGES), st.just("build")), max_size=8)


@pytest.mark.parametrize("strategy", [KETAMA, PluginSpec("weighted"), PluginSpec("least-conn")], ids=str)
@given(STEPS)
def test_after_any_changes_a_build_gives_what_a_new_pool_has(strategy, steps):
    harness = Harness(*servers("abc"), strategy=strategy)
    for step in steps:
        if step == "build":
            build(harness)
        else:
            name, changes = step
            override(harness, name, **changes)
        open_ones = {name for name in "abc" if harness[name].spec.effective_weight}
        assert {name for name in homes(harness).values() if name} <= open_ones
    build(harness)
    fresh = Harness(*(each.spec for each in harness.pool.backends.values()), strategy=strategy)
    if strategy is KETAMA:
        assert homes(harness) == homes(fresh)
    assert harness.pool.spec == fresh.pool.spec
    assert not harness.pool.needs_build


# Stand-ins at a start

LARGE_TABLES = [
    (PluginSpec("consistent-hash", (("size", 1_000_003),)), 1),
    (KETAMA, 2_000),
]


@pytest.mark.parametrize(("strategy", "unit"), LARGE_TABLES, ids=["maglev", "ketama"])
def test_a_large_table_has_a_smaller_one_first_which_spreads_by_the_same_weights(strategy, unit):
    specs = [server("a", weight=unit), server("b", weight=3 * unit)]
    harness = Harness(strategy=strategy)
    spec = attrs.evolve(harness.pool.spec, servers=tuple(specs))
    prepared = finish(harness.pool.prepare(spec, at_start=True))
    assert not prepared.complete
    assert len(prepared.primary_built.table.owners) <= START_ENTRIES
    harness.pool.apply(prepared, {}, 0.0)
    assert harness.pool.needs_build
    spread = Counter(homes(harness).values())
    assert spread["a"] + spread["b"] == len(CLIENTS)
    assert spread["a"] < spread["b"]


def test_a_table_that_is_quick_to_build_has_no_stand_in():
    harness = Harness(strategy=KETAMA)
    prepared = finish(harness.pool.prepare(harness.pool.spec, at_start=True))
    assert prepared.complete
