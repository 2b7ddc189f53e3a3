"""Operator overrides on top of the configuration."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from lb.control.overrides import Override, overridden, still_valid
from lb.control.overrides import weights as weights_of
from lb.model import Config, PoolSpec, ServerSpec
from lb.model.address import Address

WEIGHTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9))
OVERRIDES = st.dictionaries(
    st.tuples(st.sampled_from(["p", "q"]), st.sampled_from("abcd")),
    st.builds(Override, drained=st.booleans(), weight=st.none() | st.integers(0, 9)),
)


def a_config(**pools):
    return Config(pools={name: a_pool(name, weights) for name, weights in pools.items()})


def a_pool(name, weights):
    servers = (ServerSpec(server, Address.parse("127.0.0.1:80"), weight=weight) for server, weight in weights.items())
    return PoolSpec(name, tuple(servers))


def weights(config, pool="p"):
    return {server.name: server.effective_weight for server in config.pools[pool].servers}


def test_a_drained_server_has_no_weight_whatever_else_was_said():
    config = a_config(p={"a": 3, "b": 3})
    assert weights(overridden(config, {("p", "a"): Override(drained=True, weight=7)})) == {"a": 0, "b": 3}


def test_a_weight_takes_the_place_of_the_configured_one():
    assert weights(overridden(a_config(p={"a": 3}), {("p", "a"): Override(weight=7)})) == {"a": 7}


@given(WEIGHTS, OVERRIDES)
def test_only_weights_change_and_only_of_those_that_are_spoken_of(given_weights, overrides):
    config = a_config(p=given_weights, r={"a": 1})
    changed = overridden(config, overrides)
    assert changed.pools["r"] is config.pools["r"]
    for before, after in zip(config.pools["p"].servers, changed.pools["p"].servers, strict=True):
        assert attrs.evolve(after, weight=before.weight, drained=False) == before
        if ("p", before.name) not in overrides:
            assert after == before


@given(WEIGHTS, OVERRIDES)
def test_a_reload_of_the_same_configuration_contradicts_nothing_of_its_servers(given_weights, overrides):
    config = a_config(p=given_weights)
    standing = still_valid(overrides, weights_of(config), weights_of(config))
    assert standing == {
        place: override for place, override in overrides.items() if place[0] == "p" and place[1] in given_weights
    }


@given(WEIGHTS, WEIGHTS, OVERRIDES)
def test_a_reload_contradicts_where_it_gives_another_weight_or_takes_the_server_away(old, new, overrides):
    standing = still_valid(overrides, weights_of(a_config(p=old)), weights_of(a_config(p=new)))
    for pool, server in overrides:
        contradicted = pool != "p" or server not in new or (server in old and old[server] != new[server])
        assert ((pool, server) in standing) is not contradicted
