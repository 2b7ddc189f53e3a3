"""A pool applies a new list of servers."""

from __future__ import annotations

import socket

import pytest

from lb.events import BackendRestored
from lb.model import HealthSpec, PassiveSpec, PluginSpec, PoolSpec, ServerSpec
from lb.model.address import Address
from strategies.base import Strategy
from tests.support.pooling import BUILT_IN, Harness, server, servers
from tests.support.strategy_driver import finish


@pytest.mark.parametrize("strategy", BUILT_IN)
def test_servers_keep_their_identity_by_name(strategy):
    harness = Harness(*servers("abc"), strategy=PluginSpec(strategy))
    before = dict(harness.pool.backends)
    harness.check("b", False, 3)
    leases = [harness.pick() for _ in range(4)]
    harness.reload(server("c", weight=5), server("b"), server("a", backup=True))
    assert harness.pool.backends == before
    assert sum(backend.active for backend in before.values()) == 4
    assert harness["b"].state == "down"
    assert harness.picks(10) == {"c": 10}
    for backend in leases:
        harness.pool.release(backend)
    assert not any(backend.active for backend in before.values())


class Counted(Strategy):
    """Counts the servers that the pool enables."""

    enabled = 0

    def pick(self, client, tried):
        return next(self.candidates(tried), None)

    def enable(self, server):
        super().enable(server)
        Counted.enabled += 1


@pytest.mark.parametrize(
    ("options", "touched"),
    [
        ({}, 1),
        ({"connect_timeout": 9.0}, 1),
        ({"passive": PassiveSpec(failures=9)}, 100),
        ({"health": HealthSpec(fall=9)}, 100),
        ({"strategy": PluginSpec(f"{__name__}:Counted", (("n", 1),))}, 100),
    ],
    ids=["a server", "another key", "passive", "health", "strategy"],
)
def test_a_reload_touches_only_the_servers_that_it_changes(options, touched, monkeypatch):
    monkeypatch.setattr(Counted, "__init__", lambda self, n=0: None)
    harness = Harness(*(server(f"s{number}") for number in range(100)), strategy=PluginSpec(f"{__name__}:Counted"))
    before = harness.pool.backends
    specs = [*harness.pool.spec.servers[:99], server("new")]
    monkeypatch.setattr(Counted, "enabled", 0)
    harness.reload(*specs, **options)
    assert Counted.enabled == touched
    assert [*harness.pool.backends] == [spec.name for spec in specs]
    assert all(harness[name] is before[name] for name in list(before)[:99])
    assert {backend.name for backend in harness.pool._primary.strategy.available} == {spec.name for spec in specs}


def test_a_server_whose_ejection_ended_while_it_was_removed_comes_back_up():
    harness = Harness(*servers("ab"), passive=PassiveSpec(failures=1, eject_for=5.0))
    kept, back = harness.pool.spec.servers
    while not harness["b"].active:
        harness.pick()
    old = harness["b"]
    harness.pool.connect_failed(old, "connection refused", harness.now)
    assert old.state == "ejected"
    harness.reload(kept)
    harness.now = 60.0
    harness.reload(kept, back)
    assert harness["b"] is old
    assert old.available
    assert harness.picks(10)["b"] == 5


def test_a_server_that_comes_back_before_its_connections_have_ended_is_the_same():
    harness = Harness(*servers("ab"))
    old = harness["a"]
    while not old.active:
        harness.pick()
    assert harness.reload(server("b")) == [old]
    assert old.leaving
    assert old.state == "draining"
    assert harness.pool.leaving == {"a": old}
    harness.reload(*servers("ab"))
    assert harness["a"] is old
    assert not old.leaving
    assert not harness.pool.leaving
    assert harness.picks(10)["a"] == 5
    harness.pool.release(old)
    assert old.active == 0


def test_a_server_that_comes_back_after_its_connections_have_ended_is_new():
    harness = Harness(*servers("ab"))
    old = harness["a"]
    while not old.active:
        harness.pick()
    harness.reload(server("b"))
    harness.pool.release(old)
    assert not harness.pool.leaving
    harness.reload(*servers("ab"))
    assert harness["a"] is not old


def test_a_server_without_connections_leaves_at_once():
    harness = Harness(*servers("ab"))
    harness.reload(server("b"))
    assert not harness.pool.leaving
    assert harness.picks(5) == {"b": 5}


@pytest.mark.parametrize(("on_remove", "deadline"), [("drain", 7.0 + 60), ("close", 7.0)])
def test_leaving_servers_have_their_deadline(on_remove, deadline):
    harness = Harness(*servers("ab"), on_remove=on_remove, drain_timeout=60.0)
    harness.now = 7.0
    (left,) = harness.reload(server("b"))
    assert left.drain_deadline == deadline
    assert [backend.drain_deadline for backend in harness.pool.empty(7.0)] == [deadline]


def test_leaving_twice_is_told_once():
    harness = Harness(*servers("ab"))
    old = harness["a"]
    while not old.active:
        harness.pick()
    assert harness.reload(server("b")) == [old]
    assert harness.reload(server("b")) == []


def test_a_new_address_means_new_targets():
    harness = Harness(server("a"))
    harness.reload(ServerSpec("a", Address("elsewhere:1", host="elsewhere", port=1)))
    assert harness["a"].targets == ((socket.AF_INET, ("a", 1)),)  # the name, in this harness
    harness.pool.apply(
        finish(harness.pool.prepare(PoolSpec("web", (ServerSpec("a", Address("unknown:1", host="unknown", port=1)),)))),
        {},
        0.0,
    )
    assert harness["a"].targets == ()


def test_the_next_address_is_used_when_one_fails():
    harness = Harness(server("a"))
    backend = harness["a"]
    backend.targets = ("one", "two", "three")
    backend.try_next_address("one")
    backend.try_next_address("one")
    assert backend.targets == ("two", "three", "one")


def test_health_that_is_switched_off_brings_servers_up():
    harness = Harness(*servers("ab"), health=HealthSpec(fall=1))
    harness.check("a", False)
    harness.reload(*servers("ab"), health=None)
    assert harness.picks(4) == {"a": 2, "b": 2}
    assert harness.of(BackendRestored) == [BackendRestored("web", "a")]
