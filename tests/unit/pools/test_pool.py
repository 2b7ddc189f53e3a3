"""A pool, without trio, sockets or a clock: leases, availability, health, and queued connections."""

from __future__ import annotations

import pytest

from healthcheck.result import Advice, CheckResult
from lb.events import BackendAdvised, BackendEjected, BackendRestored, Fault
from lb.model import HealthSpec, PassiveSpec, PluginSpec
from tests.support.pooling import BUILT_IN, Harness, server, servers


class Waiter:
    """A held connection: takes a server if one is available, else waits again."""

    def __init__(self, harness, name, log):
        self.harness = harness
        self.name = name
        self.log = log
        self.backend = None
        harness.pool.wait(self)

    def server_available(self):
        assert any(backend.available for backend in self.harness.pool.backends.values()), "woken without need"
        self.log.append(self.name)
        self.backend = self.harness.pick()
        if self.backend is None:
            self.harness.pool.wait(self)


# Leases


def test_a_lease_counts_from_the_pick_and_until_the_release():
    harness = Harness(server("a"))
    backend = harness.pick()
    assert (backend.active, backend.total) == (1, 1)
    harness.pool.connected(backend, 1.0)
    assert backend.active == 1
    harness.pool.release(backend)
    assert (backend.active, backend.total) == (0, 1)


def test_a_failed_connect_is_counted_but_holds_no_lease():
    harness = Harness(*servers("ab"))
    backend = harness.pick()
    harness.pool.release(backend)
    harness.pool.connect_failed(backend, "connection refused", 1.0)
    assert (backend.active, backend.failed_connects) == (0, 1)


@pytest.mark.parametrize("strategy", BUILT_IN)
def test_a_full_server_is_not_picked_and_comes_back_with_a_lease(strategy):
    harness = Harness(server("a", max_connections=2), strategy=PluginSpec(strategy))
    first, second = harness.pick(), harness.pick()
    assert first is second is harness["a"]
    assert harness.pick() is None
    harness.pool.release(first)
    assert harness.pick() is harness["a"]


@pytest.mark.parametrize("strategy", BUILT_IN)
def test_a_server_of_weight_0_and_one_that_was_tried_are_not_picked(strategy):
    harness = Harness(server("a", weight=0), server("b"), server("c"), strategy=PluginSpec(strategy))
    assert "a" not in harness.picks(50)
    assert harness.pick(harness["b"]) is harness["c"]
    assert harness.pick(harness["b"], harness["c"]) is None


@pytest.mark.parametrize("strategy", BUILT_IN)
def test_backups_are_for_when_no_primary_is_available(strategy):
    harness = Harness(server("a"), server("b", backup=True), strategy=PluginSpec(strategy))
    assert harness.picks(20) == {"a": 20}
    assert harness.pick(harness["a"]) is harness["b"], "a tried server is not available"
    harness.check("a", False, 3)
    assert harness.picks(20) == {"b": 20}
    harness.check("a", True, 2)
    assert harness.picks(20) == {"a": 20}


# When all are down


def test_reject_means_none():
    harness = Harness(*servers("ab"), health=HealthSpec(fall=1))
    harness.check("a", False)
    harness.check("b", False)
    assert harness.pick() is None


def test_any_means_that_health_is_put_aside_but_nothing_else():
    harness = Harness(
        *servers("ab"), server("full", max_connections=1), server("none", weight=0),
        when_all_down="any", health=HealthSpec(fall=1),
    )  # fmt: skip
    while harness["full"].active == 0:
        harness.pick()
    for name in harness.pool.backends:
        harness.check(name, False)
    assert set(harness.picks(20)) == {"a", "b"}
    assert harness.pick(harness["a"]) is harness["b"]
    assert harness.pick(harness["a"], harness["b"]) is None


def test_any_never_overrides_a_server_that_is_available():
    harness = Harness(*servers("abc"), when_all_down="any", health=HealthSpec(fall=1))
    harness.check("a", False)
    harness.check("b", False)
    assert harness.picks(20) == {"c": 20}
    assert harness.pick(harness["c"]) in (harness["a"], harness["b"])
    assert harness.picks(20) == {"c": 20}, "the exception was for one pick"


def test_any_asks_primaries_before_backups():
    harness = Harness(server("b", backup=True), server("a"), when_all_down="any", health=HealthSpec(fall=1))
    harness.check("a", False)
    harness.check("b", False)
    assert harness.picks(5) == {"a": 5}


# Health


def test_scattered_failures_do_not_eject():
    """A known defect of gobetween."""
    harness = Harness(server("a"), passive=PassiveSpec(failures=3))
    for _ in range(20):
        harness.pool.connect_failed(harness["a"], "connection refused", 1.0)
        harness.pool.connect_failed(harness["a"], "connection refused", 1.0)
        harness.pool.connected(harness["a"], 1.0)
        harness.check("a", False, 2)
        harness.check("a", True)
    assert harness.events == []
    assert harness["a"].available


def test_changes_are_told_once_with_the_pool_already_right():
    harness = Harness(*servers("ab"))
    seen = []
    harness.pool._changed = lambda pool, backend, change: seen.append((change.new, harness.picks(4)))
    harness.check("a", False, 5)
    harness.check("a", True, 5)
    assert seen == [("down", {"b": 4}), ("up", {"a": 2, "b": 2})]
    assert harness.events == [BackendEjected("web", "a", "HTTP 503", "active"), BackendRestored("web", "a")]


def test_an_ejection_runs_out():
    harness = Harness(*servers("ab"), passive=PassiveSpec(failures=1, eject_for=10))
    harness.pool.connect_failed(harness["a"], "timed out", 5.0)
    assert harness.events == [BackendEjected("web", "a", "timed out", "passive")]
    assert harness["a"].state == "ejected"
    harness.pool.expire(harness["a"], 14.9)
    assert harness.picks(4) == {"b": 4}
    harness.pool.expire(harness["a"], 15.0)
    assert harness.picks(4) == {"a": 2, "b": 2}


def test_a_server_that_is_down_is_not_ejected_a_second_time():
    harness = Harness(*servers("ab"), passive=PassiveSpec(failures=1), health=HealthSpec(fall=1))
    harness.pool.connect_failed(harness["a"], "timed out", 0.0)
    harness.check("a", False)
    harness.pool.connect_failed(harness["a"], "timed out", 0.0)
    assert len(harness.of(BackendEjected)) == 1
    assert harness["a"].state == "down"


def test_only_a_check_that_began_after_the_ejection_restores_a_server():
    harness = Harness(server("a"), passive=PassiveSpec(failures=1))
    harness.pool.connect_failed(harness["a"], "timed out", 10.0)
    harness.pool.checked(harness["a"], CheckResult(True, "HTTP 200", 15.0), 10.010)
    assert harness["a"].state == "ejected"
    harness.pool.checked(harness["a"], CheckResult(True, "HTTP 200", 15.0), 10.020)
    assert harness["a"].state == "up"
    assert len(harness.of(BackendRestored)) == 1


def test_a_broken_probe_is_a_fault():
    harness = Harness(server("a"))
    error = ZeroDivisionError()
    harness.pool.checked(harness["a"], CheckResult(False, "broken", 1.0, exception=error), 0.0)
    assert harness.of(Fault) == [Fault("pool web: probe of a", error)]


# Agent checks


def told(harness, name, *, passed=True, **advice):
    result = CheckResult(passed, "up" if passed else "down", 1.0, at_once=True, advice=Advice(**advice))
    harness.pool.checked(harness[name], result, harness.now)


def test_a_change_of_what_a_server_wants_is_told_once():
    harness = Harness(*servers("ab"))
    told(harness, "a")
    told(harness, "a", share=50)
    told(harness, "a", share=50)
    told(harness, "a", admin="drain")
    told(harness, "a", share=0, admin="ready")
    assert harness.events == [
        BackendAdvised("web", "a", 50, "ready"),
        BackendAdvised("web", "a", 50, "drain"),
        BackendAdvised("web", "a", 0, "ready"),
    ]


@pytest.mark.parametrize("wish", [{"share": 0}, {"admin": "drain"}])
@pytest.mark.parametrize("strategy", BUILT_IN)
def test_a_server_that_wants_no_new_connections_gets_none(strategy, wish):
    harness = Harness(*servers("ab"), strategy=PluginSpec(strategy))
    told(harness, "a", **wish)
    assert harness["a"].state == "draining"
    assert harness.picks(10) == {"b": 10}
    harness.reload(*servers("abc"))
    assert harness.picks(10)["a"] == 0
    told(harness, "a", share=100, admin="ready")
    assert harness["a"].available


def test_a_server_that_wants_nothing_gets_nothing_either_if_all_others_are_down():
    harness = Harness(*servers("ab"), when_all_down="any", health=HealthSpec(fall=1))
    told(harness, "a", admin="drain")
    harness.check("b", False)
    assert harness.picks(4) == {"b": 4}
    told(harness, "a", admin="maint")
    assert harness.picks(4) == {"b": 4}
    assert harness["a"].state == "down"


@pytest.mark.parametrize(("strategy", "expected"), [("round-robin", 15), ("weighted", 10)])
def test_a_share_counts_where_weights_do(strategy, expected):
    harness = Harness(*servers("ab"), strategy=PluginSpec(strategy))
    told(harness, "a", share=50)
    assert harness.picks(30)["a"] == expected
    harness.reload(*servers("ab"))
    assert harness.picks(30)["a"] == expected, "a share stays with its server"


def test_drain_and_enable_of_a_server_that_is_down_keep_its_since():
    """An operator saw a server as down since the moment of the drain."""
    harness = Harness(*servers("ab"))
    harness.now = 10.0
    harness.check("a", False, 3)
    for now, weight in ((20.0, 0), (30.0, 1)):
        harness.now = now
        harness.reload(server("a", weight=weight), server("b"))
        assert (harness["a"].state, harness["a"].since) == ("down", 10.0)
    harness.now = 40.0
    harness.reload(server("a", weight=0), server("b"))
    harness.now = 50.0
    harness.check("a", True, 2)
    assert (harness["a"].state, harness["a"].since) == ("draining", 50.0)
    harness.now = 60.0
    harness.reload(*servers("ab"))
    assert (harness["a"].state, harness["a"].since) == ("up", 60.0)


def test_a_primary_is_back_once_after_none_was():
    harness = Harness(server("a", max_connections=1), server("b"), server("s", backup=True))
    assert not harness.pool.primary_is_back()
    for name in "abs":
        harness.check(name, False, 3)
        assert not harness.pool.primary_is_back()
    harness.check("s", True, 2)
    assert not harness.pool.primary_is_back(), "a backup"
    harness.check("a", True, 2)
    assert harness.pool.primary_is_back()
    harness.check("b", True, 2)
    assert not harness.pool.primary_is_back(), "another one was there"


def test_a_share_of_weight_0_is_nothing():
    harness = Harness(server("a", weight=0), server("b"), strategy=PluginSpec("least-conn"))
    told(harness, "a", share=50)
    assert harness.picks(4) == {"b": 4}


def test_what_was_asked_for_is_over_once_the_checks_change():
    harness = Harness(*servers("ab"), strategy=PluginSpec("weighted"))
    told(harness, "a", share=50, admin="drain")
    harness.reload(*servers("ab"), health=None)
    assert harness.picks(10) == {"a": 5, "b": 5}
    assert harness.of(BackendAdvised)[-1] == BackendAdvised("web", "a", 100, "ready")


def test_a_server_that_is_ready_again_wakes_waiters():
    harness = Harness(server("a"), when_all_down="hold")
    told(harness, "a", admin="drain")
    log = []
    Waiter(harness, "w", log)
    told(harness, "a", admin="ready")
    assert log == ["w"]


# Queued connections


def test_waiters_are_woken_oldest_first_and_only_while_a_server_is_available():
    harness = Harness(server("a", max_connections=2), when_all_down="hold", health=HealthSpec(fall=1, rise=1))
    harness.check("a", False)
    log = []
    waiters = [Waiter(harness, name, log) for name in "vwxyz"]
    harness.check("a", True)
    assert log == ["v", "w"]
    harness.pool.release(waiters[0].backend)
    assert log == ["v", "w", "x"]
    harness.pool.stop_waiting(waiters[3])
    harness.pool.release(waiters[1].backend)
    assert log == ["v", "w", "x", "z"]
    harness.pool.release(waiters[2].backend)
    harness.pool.release(waiters[4].backend)
    assert harness["a"].active == 0


@pytest.mark.parametrize("how", ["added", "reweighted", "unlimited"])
def test_a_reload_wakes_waiters(how):
    start = {"added": (), "reweighted": (server("a", weight=0),), "unlimited": (server("a", max_connections=1),)}[how]
    harness = Harness(*start, when_all_down="hold")
    harness.pick()
    log = []
    waiter = Waiter(harness, "w", log)
    assert log == []
    harness.reload(server("a"))
    assert log == ["w"]
    assert waiter.backend.targets, "the new server's address is resolved by then"


def test_a_waiter_that_tries_in_vain_waits_again_and_is_asked_once():
    harness = Harness(server("a", max_connections=1), when_all_down="hold")
    lease = harness.pick()
    log = []

    class Failing(Waiter):
        def server_available(self):
            log.append(self.name)
            backend = self.harness.pick()
            self.harness.pool.release(backend)  # its connect failed at once
            self.harness.pool.wait(self)

    Failing(harness, "x", log)
    Failing(harness, "y", log)
    harness.pool.release(lease)
    assert log == ["x", "y"]
    assert harness["a"].active == 0
