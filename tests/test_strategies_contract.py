"""What holds for every strategy, whatever the pool does to it."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.address import Client
from lb.model import PluginSpec
from strategies import registry
from tests.strategy_driver import CLIENT, finish, lease, make_servers, make_specs, release, start, use

SPECS = {
    "round-robin": PluginSpec("round-robin"),
    "weighted": PluginSpec("weighted"),
    "least-conn": PluginSpec("least-conn"),
    "random-two": PluginSpec("random-two"),
    "maglev": PluginSpec("consistent-hash", (("size", 31),)),
    "crowded maglev": PluginSpec("consistent-hash", (("size", 3),)),
    "ketama": PluginSpec("consistent-hash", (("table", "ketama"),)),
}
SERVERS = 7
every_strategy = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())

number = st.integers(0, SERVERS - 1)
some = st.lists(number, max_size=SERVERS)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("enable"), number),
        st.tuples(st.just("disable"), number),
        st.tuples(st.just("pick"), some),
        st.tuples(st.just("release"), number),
        st.tuples(st.just("share"), st.tuples(number, st.sampled_from([1, 50, 100]))),
        st.tuples(st.just("use"), st.lists(st.tuples(number, st.integers(1, 5)), unique_by=lambda pair: pair[0])),
    ),
    max_size=60,
)


def test_every_built_in_is_tested_here():
    assert {spec.name for spec in SPECS.values()} == set(registry.names())


@every_strategy
@given(operations=operations)
@settings(max_examples=60, deadline=None)
def test_picks_available_untried_servers_and_none_only_without_any(spec, operations):
    strategy = registry.create(spec)
    servers = make_servers(*[1, 2, 3, 1, 5, 1, 2])
    members, available, leases = list(servers), set(servers), []
    start(strategy, servers)
    for operation, value in operations:
        match operation:
            case "enable" if servers[value] in members:
                strategy.enable(servers[value])
                available.add(servers[value])
            case "disable":
                strategy.disable(servers[value])
                available.discard(servers[value])
            case "pick":
                tried = [servers[index] for index in value]
                chosen = lease(strategy, tried, Client(f"10.0.0.{len(leases)}", 1))
                possible = available.difference(tried)
                assert chosen in possible if possible else chosen is None
                if chosen is not None:
                    leases.append(chosen)
            case "release" if leases:
                release(strategy, leases.pop(value % len(leases)))
            case "share" if servers[value[0]] in members:
                servers[value[0]].share = value[1]
                strategy.share_changed(servers[value[0]])
            case "use":
                members = [servers[index] for index, _ in value]
                for index, weight in value:
                    servers[index].spec = attrs.evolve(servers[index].spec, weight=weight)
                use(strategy, members)
                available.intersection_update(members)
        assert strategy.available == available


@every_strategy
def test_without_servers_there_is_no_pick(spec):
    assert start(registry.create(spec), []).pick(CLIENT, ()) is None


@every_strategy
def test_before_the_first_use_there_is_no_pick(spec):
    assert registry.create(spec).pick(CLIENT, ()) is None


@every_strategy
def test_building_changes_nothing(spec):
    strategy = registry.create(spec)
    servers = make_servers(1, 1, 1)
    start(strategy, servers)
    finish(strategy.build(make_specs(1, 1, first=100)))
    assert strategy.servers == tuple(servers)
    assert {strategy.pick(CLIENT, ()) for _ in range(50)} <= set(servers)


@every_strategy
def test_the_end_of_a_connection_to_a_removed_server_is_no_matter(spec):
    strategy = registry.create(spec)
    servers = make_servers(1, 1)
    start(strategy, servers)
    gone = lease(strategy)
    stays = next(server for server in servers if server is not gone)
    use(strategy, [stays])
    release(strategy, gone)
    strategy.disable(gone)
    assert [strategy.pick(CLIENT, ()) for _ in range(3)] == [stays] * 3


@every_strategy
def test_enabling_or_disabling_twice_is_the_same_as_once(spec):
    strategy = registry.create(spec)
    first, second = servers = make_servers(1, 1)
    start(strategy, servers)
    strategy.enable(first)
    strategy.disable(first)
    strategy.disable(first)
    assert {lease(strategy) for _ in range(20)} == {second}
    assert strategy.pick(CLIENT, [second]) is None
