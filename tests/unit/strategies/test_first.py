import attrs
import pytest

from lb.model import Server
from strategies import registry
from strategies.first import First
from tests.support.strategy_driver import CLIENT, make_specs, picked_names, start, use


class DatedServer(Server):
    """A server that became available at a time that the test sets."""

    since = 0.0


def dated(*weights):
    return [DatedServer(spec) for spec in make_specs(*weights)]


def out(strategy, server, back=None):
    strategy.disable(server)
    if back is not None:
        server.since = back
        strategy.enable(server)


def test_the_first_of_the_file_that_is_available_whatever_its_weight():
    first, second, third = servers = dated(1, 9, 9)
    strategy = start(First(), servers)
    assert picked_names(strategy, 3) == ["s1"] * 3
    assert strategy.pick(CLIENT, [first]) is second
    assert strategy.pick(CLIENT, servers) is None
    out(strategy, first)
    out(strategy, second)
    assert strategy.pick(CLIENT, ()) is third
    strategy.enable(second)
    assert strategy.pick(CLIENT, ()) is second
    strategy.enable(first)
    assert strategy.pick(CLIENT, ()) is first


def test_without_failback_the_one_in_use_stays_while_it_lives():
    first, second, third = servers = dated(1, 1, 1)
    strategy = start(First(failback=False), servers)
    assert strategy.pick(CLIENT, ()) is first
    out(strategy, first, back=10)
    assert strategy.pick(CLIENT, ()) is second
    out(strategy, second, back=20)
    assert strategy.pick(CLIENT, ()) is third
    out(strategy, third, back=30)
    assert strategy.pick(CLIENT, ()) is first


def test_without_failback_a_retry_and_a_full_server_change_nothing():
    first, second = servers = dated(1, 1)
    strategy = start(First(failback=False), servers)
    out(strategy, first, back=10)
    assert strategy.pick(CLIENT, [second]) is first
    assert strategy.pick(CLIENT, ()) is second
    out(strategy, second, back=second.since)  # it was full
    assert strategy.pick(CLIENT, ()) is second


def test_without_failback_it_stays_over_reloads_and_for_a_new_process():
    first, second = servers = dated(1, 1)
    strategy = start(First(failback=False), servers)
    out(strategy, first, back=10)
    first.spec = attrs.evolve(first.spec, weight=5)
    use(strategy, [first, second])
    assert strategy.pick(CLIENT, ()) is second
    (added,) = dated(1)
    added.since = 20
    use(strategy, [added, first, second])
    strategy.enable(added)
    assert strategy.pick(CLIENT, ()) is second
    assert start(First(failback=False), [first, second]).pick(CLIENT, ()) is second


@pytest.mark.parametrize("value", ["no", 0, None])
def test_failback_is_true_or_false(value):
    with pytest.raises(ValueError, match="failback must be true or false"):
        registry.load("first")(failback=value)
