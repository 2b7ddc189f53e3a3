"""A pool applies a new list of servers."""

from __future__ import annotations

import socket

import pytest

from lb.events import BackendRestored
from lb.model import HealthSpec, PluginSpec, PoolSpec, ServerSpec
from lb.model.address import Address
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
    backend.turn_from("one")
    backend.turn_from("one")
    assert backend.targets == ("two", "three", "one")


def test_health_that_is_switched_off_brings_servers_up():
    harness = Harness(*servers("ab"), health=HealthSpec(fall=1))
    harness.check("a", False)
    harness.reload(*servers("ab"), health=None)
    assert harness.picks(4) == {"a": 2, "b": 2}
    assert harness.of(BackendRestored) == [BackendRestored("web", "a")]
