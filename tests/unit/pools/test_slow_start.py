"""Slow start: the ramping servers, their progress, and no sudden steps for the others."""

from __future__ import annotations

import random
from collections import Counter

import attrs
import pytest

from healthcheck.result import Advice, CheckResult
from lb.events import Fault
from lb.model import HealthSpec, PassiveSpec, PluginSpec
from tests.support.pooling import Harness, server, servers
from tests.support.rehearsing import chance_kept

RAMPING = ["weighted", "least-conn", "random-two"]
RAMP = 100.0
"""Length of a ramp in seconds, with one step per second."""


def harness_of(strategy, names, **options):
    with chance_kept():
        random.seed(1)
        harness = Harness(*servers(names), strategy=PluginSpec(strategy), slow_start=RAMP, **options)
    harness.pool.ramp(harness.now)
    return harness


def pass_time(harness, seconds):
    harness.now += seconds
    return harness.pool.ramp(harness.now)


def add(harness, names):
    """A reload that adds these servers."""
    harness.reload(*(backend.spec for backend in harness.pool.backends.values()), *servers(names))
    harness.pool.ramp(harness.now)


class Load:
    """Connections that open and close: a constant number is open, and they end in random order."""

    def __init__(self, harness, open_at_once, seed=1):
        self.harness = harness
        self.open_at_once = open_at_once
        self.open = []
        self.rng = random.Random(seed)

    def shares(self, connections=1000):
        """Return the share of these connections that each server gets."""
        chosen = Counter()
        for _ in range(connections):
            self.open.append(self.harness.pick())
            chosen[self.open[-1].name] += 1
            while len(self.open) > self.open_at_once:
                self.harness.pool.release(self.open.pop(self.rng.randrange(len(self.open))))
        return {name: count / connections for name, count in chosen.items()}


@pytest.mark.parametrize("open_at_once", [0, 2, 50])
@pytest.mark.parametrize("strategy", RAMPING)
def test_a_new_server_gets_more_and_more_however_many_connections_are_open(strategy, open_at_once):
    harness = harness_of(strategy, "abc")
    load = Load(harness, open_at_once)
    load.shares()
    add(harness, "d")
    for percent in (1, 10, 25, 50, 75, 90):
        assert pass_time(harness, percent - harness.now)
        share = percent / 100
        fair = share / (3 + share)
        shares = load.shares()
        assert fair * 0.6 - 0.01 <= shares.get("d", 0) <= fair * 1.3 + 0.01
        others = [shares[name] for name in "abc"]
        assert max(others) - min(others) < 0.08
    assert not pass_time(harness, 100 - harness.now)
    load.shares()
    assert load.shares()["d"] == pytest.approx(0.25, abs=0.05)
    assert not harness.of(Fault)


@pytest.mark.parametrize("strategy", RAMPING)
def test_a_server_that_joins_makes_no_step_for_one_that_ramps(strategy):
    harness = harness_of(strategy, "abc")
    load = Load(harness, 3)
    add(harness, "d")
    pass_time(harness, 50)
    before = load.shares()
    add(harness, "e")
    after = load.shares()
    assert after.get("e", 0) < 0.02
    assert after["d"] == pytest.approx(before["d"], abs=0.04)
    for name in "abc":
        assert after[name] == pytest.approx(before[name], abs=0.06)
    pass_time(harness, 25)
    shares = load.shares()
    assert shares["d"] == pytest.approx(0.75 / 4, abs=0.05)
    assert shares["e"] == pytest.approx(0.25 / 4, abs=0.04)


@pytest.mark.parametrize("strategy", RAMPING)
def test_the_one_that_came_first_does_not_wait_for_one_that_comes_later(strategy):
    """After an outage of all servers."""
    harness = harness_of(strategy, "ab", health=HealthSpec(rise=1, fall=1))
    harness.check("a", False)
    harness.check("b", False)
    harness.check("a", True)
    harness.pool.ramp(harness.now)
    assert harness.picks(10) == {"a": 10}
    pass_time(harness, 20)
    harness.check("b", True)
    harness.pool.ramp(harness.now)
    shares = Load(harness, 3).shares()
    assert shares.get("b", 0) == pytest.approx(0.01 / 0.21, abs=0.03)


@pytest.mark.parametrize("strategy", RAMPING)
def test_servers_that_come_up_together_share_alike(strategy):
    harness = harness_of(strategy, "ab", health=HealthSpec(rise=1, fall=1))
    for name, passed in [("a", False), ("b", False), ("a", True), ("b", True)]:
        harness.check(name, passed)
    harness.pool.ramp(harness.now)
    assert Load(harness, 3).shares()["a"] == pytest.approx(0.5, abs=0.06)


def ramps(harness):
    pass_time(harness, 0)
    return {name: backend.ramp for name, backend in harness.pool.backends.items() if backend.ramp < 1}


@pytest.mark.parametrize("initial", ["up", "down"])
def test_at_the_first_start_nobody_ramps(initial):
    harness = harness_of("weighted", "ab", health=HealthSpec(initial=initial))
    harness.check("a", True)
    harness.check("b", True)
    assert not ramps(harness)
    assert harness.picks(100) == {"a": 50, "b": 50}


def test_one_that_is_new_and_counts_as_down_ramps_from_its_first_pass():
    harness = harness_of("weighted", "ab")
    add(harness, "")
    harness.reload(*servers("abc"), health=HealthSpec(initial="down"))
    pass_time(harness, 200)
    assert not ramps(harness)
    harness.check("c", True)
    assert ramps(harness) == {"c": 0.01}


@pytest.mark.parametrize("source", ["check", "connects"])
def test_one_that_is_restored_ramps(source):
    harness = harness_of("weighted", "ab", health=HealthSpec(rise=1, fall=1), passive=PassiveSpec(failures=1))
    if source == "check":
        harness.check("a", False)
        harness.check("a", True)
    else:
        harness.pool.connect_failed(harness["a"], "refused", harness.now)
        harness.now = harness["a"].health.deadline
        harness.pool.expire(harness["a"], harness.now)
    assert ramps(harness) == {"a": 0.01}
    pass_time(harness, 30)
    assert ramps(harness) == {"a": 0.3}
    harness.check("a", False)
    assert not ramps(harness)
    harness.check("a", True)
    assert ramps(harness) == {"a": 0.01}, "from the beginning"


def test_a_reload_keeps_the_ramp_and_takes_its_new_length():
    harness = harness_of("weighted", "ab")
    add(harness, "c")
    pass_time(harness, 20)
    harness.reload(*servers("abc"))
    assert ramps(harness) == {"c": 0.2}
    harness.reload(*servers("abc"), slow_start=40)
    assert ramps(harness) == {"c": 0.5}
    harness.reload(*servers("abc"), slow_start=0)
    assert not ramps(harness)
    assert harness.picks(99) == {"a": 33, "b": 33, "c": 33}


@pytest.mark.parametrize("strategy", ["round-robin", "consistent-hash"])
def test_strategies_that_ignore_weights_ignore_the_ramp(strategy):
    harness, plain = (Harness(*servers("abc"), strategy=PluginSpec(strategy), slow_start=ramp) for ramp in (RAMP, 0))
    for each in (harness, plain):
        each.reload(*servers("abcd"))
        each.pool.ramp(0)
    assert harness.picks(100) == plain.picks(100)


@pytest.mark.parametrize("strategy", RAMPING)
def test_one_that_ramps_takes_all_if_there_is_nobody_else(strategy):
    harness = harness_of(strategy, "ab", health=HealthSpec(rise=1, fall=1))
    add(harness, "c")
    harness.check("a", False)
    harness.check("b", False)
    assert harness.picks(20) == {"c": 20}
    pass_time(harness, 5)
    assert harness.picks(20) == {"c": 20}


@pytest.mark.parametrize("strategy", RAMPING)
def test_a_retry_may_go_to_one_that_ramps(strategy):
    harness = harness_of(strategy, "a")
    add(harness, "b")
    assert harness.pick(harness["a"]) is harness["b"]
    assert harness.pick(harness["a"], harness["b"]) is None


@pytest.mark.parametrize("strategy", RAMPING)
def test_who_waits_gets_one_that_ramps_if_there_is_nobody_else(strategy):
    harness = Harness(server("a", max_connections=1), strategy=PluginSpec(strategy), slow_start=RAMP, queue=5)
    got = []

    class Waiter:
        def server_available(self):
            got.append(harness.pick())

    harness.pick()
    assert harness.pick() is None
    harness.pool.wait(Waiter())
    harness.pool.wait(Waiter())
    add(harness, "b")
    assert [backend.name for backend in got] == ["b", "b"]


@pytest.mark.parametrize("strategy", RAMPING)
def test_the_ramp_is_of_the_share_that_the_server_itself_wants(strategy):
    harness = harness_of(strategy, "ab")
    add(harness, "c")
    pass_time(harness, 50)
    wish = CheckResult(passed=True, detail="", ms=1.0, advice=Advice(share=50))
    harness.pool.checked(harness["c"], wish, harness.now)
    assert harness["c"].share == 25
    pass_time(harness, 50)
    assert harness["c"].share == 50


@pytest.mark.parametrize("strategy", RAMPING)
def test_one_that_leaves_or_changes_its_tier_while_it_ramps_is_no_trouble(strategy):
    harness = harness_of(strategy, "ab")
    add(harness, "cd")
    harness.picks(10)
    harness.reload(*servers("ab"), server("c", backup=True))
    assert harness.picks(20) == {"a": 10, "b": 10} or strategy == "random-two"
    pass_time(harness, 1)
    harness.picks(20)
    harness.reload(*servers("ab"), attrs.evolve(server("c"), weight=0))
    harness.picks(20)
    harness.reload(*servers("abcd"))
    pass_time(harness, 1)
    harness.picks(20)
    assert not harness.of(Fault)
    assert not pass_time(harness, RAMP)
    assert harness.pool._primary._pacing is None


def test_without_slow_start_nothing_is_paced():
    harness = Harness(*servers("ab"), strategy=PluginSpec("least-conn"))
    harness.reload(*servers("abc"))
    assert not harness.pool.ramp(0)
    assert harness.pool._primary._pacing is None
    assert harness.picks(30) == {"a": 10, "b": 10, "c": 10}
