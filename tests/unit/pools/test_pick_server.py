"""A lease on a server by its name, for sticky sessions; requests that fail.

``tests/properties/test_pool.py`` compares it with what a pick could choose.
"""

from __future__ import annotations

import pytest

from lb.events import BackendEjected
from lb.model import HealthSpec, PassiveSpec, PluginSpec
from tests.support.pooling import BUILT_IN, Harness, server, servers
from tests.unit.pools.test_shared_pool import Held, processes


@pytest.mark.parametrize("strategy", BUILT_IN)
def test_a_lease_by_name_is_a_lease_as_any_other(strategy):
    harness = Harness(*servers("abc"), strategy=PluginSpec(strategy))
    assert [harness.pool.pick_server("b", ()) for _ in range(3)] == [harness["b"]] * 3
    assert (harness["b"].active, harness["b"].total) == (3, 3)
    for _ in range(3):
        harness.pool.release(harness["b"])
    assert harness["b"].active == 0


def test_the_strategy_knows_of_the_lease():
    harness = Harness(*servers("ab"), strategy=PluginSpec("least-conn"))
    harness.pool.pick_server("a", ())
    assert [harness.pick().name for _ in range(1)] == ["b"]


@pytest.mark.parametrize(
    "how", ["unknown", "tried", "down", "ejected", "weight 0", "full", "a backup beside a primary"]
)
def test_a_server_that_may_not_be_chosen_now_is_not_leased(how):
    named = server("a", weight=0 if how == "weight 0" else 1, max_connections=1, backup=how.startswith("a backup"))
    harness = Harness(named, server("b"), health=HealthSpec(fall=1), passive=PassiveSpec(failures=1))
    name, tried = ("x" if how == "unknown" else "a"), ((harness["a"],) if how == "tried" else ())
    if how == "down":
        harness.check("a", False)
    if how == "ejected":
        harness.pool.connect_failed(harness["a"], "refused", 0.0)
    if how == "full":
        assert harness.pool.pick_server("a", ()) is harness["a"]
    before = harness["a"].active
    assert harness.pool.pick_server(name, tried) is None
    assert harness["a"].active == before


def test_a_backup_is_leased_while_backups_are_in_use():
    harness = Harness(
        server("a"), server("s", backup=True), server("t", backup=True), health=HealthSpec(fall=1, rise=1)
    )
    harness.check("a", False)
    assert harness.pool.pick_server("t", ()) is harness["t"]
    harness.check("a", True)
    assert harness.pool.pick_server("t", ()) is None
    assert harness.pool.pick_server("t", (harness["a"],)) is harness["t"], "the primary was tried in vain"


def test_if_all_are_down_and_any_goes_a_session_stays():
    harness = Harness(*servers("abc"), when_all_down="any", health=HealthSpec(fall=1))
    for name in "abc":
        harness.check(name, False)
    assert {harness.pool.pick_server("b", ()) for _ in range(5)} == {harness["b"]}
    assert harness.pool.pick_server("b", (harness["b"],)) is None


def test_any_does_not_go_where_a_request_may_queue():
    specs = server("full", max_connections=1), server("down")
    harness = Harness(*specs, when_all_down="any", queue=5, health=HealthSpec(fall=1))
    assert harness.pool.pick_server("full", ()) is not None
    harness.check("down", False)
    assert harness.pick() is None
    assert harness.pool.pick_server("down", ()) is None


def test_a_server_in_slow_start_gets_no_more_sessions_than_connections():
    harness = Harness(*servers("ab"), strategy=PluginSpec("least-conn"), slow_start=100.0)
    harness.reload(*servers("abc"))
    harness.pool.ramp(0.0)
    harness.now = 10.0
    harness.pool.ramp(10.0)
    got = 0
    for _ in range(1000):
        backend = harness.pool.pick_server("c", ()) or harness.pick()
        got += backend.name == "c"
        harness.pool.release(backend)
    assert got / 1000 == pytest.approx(0.1 / 2.1, abs=0.01)


def test_sessions_alone_make_a_server_in_slow_start_due():
    harness = Harness(*servers("ab"), strategy=PluginSpec("least-conn"), slow_start=100.0)
    harness.reload(*servers("abc"))
    harness.pool.ramp(0.0)
    harness.now = 10.0
    harness.pool.ramp(10.0)
    for _ in range(40):
        harness.pool.release(harness.pool.pick_server("a", ()))
    assert harness.pool.pick_server("c", ()) is harness["c"]
    assert harness.pool.pick_server("c", ()) is harness["c"], "what was missed is made up for"


def test_a_server_in_slow_start_is_left_to_the_pick_if_it_is_the_only_one():
    harness = Harness(*servers("ab"), strategy=PluginSpec("least-conn"), slow_start=100.0, health=HealthSpec(fall=1))
    harness.reload(*servers("abc"))
    harness.pool.ramp(0.0)
    for name in "ab":
        harness.check(name, False)
    for _ in range(3):
        backend = harness.pool.pick_server("c", ()) or harness.pick()
        assert backend is harness["c"]
        harness.pool.release(backend)


def test_the_last_place_is_taken_once_in_all_workers_together():
    one, other = processes(2, server("a", max_connections=1), server("b"))
    assert one.pool.pick_server("a", ()) is one.pool.backends["a"]
    assert other.pool.pick_server("a", ()) is None
    one.pool.release(one.pool.backends["a"])
    assert other.pool.pick_server("a", ()) is other.pool.backends["a"]
    assert other.pool.backends["a"].total == 1


def test_who_waits_comes_before_a_session():
    one, other = processes(2, server("a", max_connections=1), queue=5)
    assert other.pool.pick_server("a", ()) is not None
    held = Held(one)
    one.pool.wait(held)
    other.pool.release(other.pool.backends["a"])
    assert one.pool.pick_server("a", ()) is None
    assert held.backend is one.pool.backends["a"]


def test_a_lease_that_another_worker_took_at_the_same_time_is_given_back(monkeypatch):
    one, other = processes(2, server("a", max_connections=1), server("b"))
    assert one.pool.pick_server("a", ()) is not None
    monkeypatch.setattr(other.pool, "_seen", {})  # it has not looked yet
    assert other.pool.pick_server("a", ()) is None
    backend = other.pool.backends["a"]
    assert (backend.active, backend.total) == (1, 0)


# Requests that fail


def test_requests_that_fail_in_a_row_eject_and_are_no_failed_connects():
    harness = Harness(*servers("ab"), passive=PassiveSpec(failures=3, eject_for=10.0, statuses=((500, 599),)))
    for _ in range(3):
        harness.pool.connected(harness["a"], 1.0)
        harness.pool.request_failed(harness["a"], "HTTP 503", 1.0)
    assert harness.events == [BackendEjected("web", "a", "HTTP 503", "passive")]
    assert harness["a"].failed_connects == 0
    assert harness.picks(4) == {"b": 4}
    harness.pool.expire(harness["a"], 11.0)
    assert harness.picks(4) == {"a": 2, "b": 2}


def test_scattered_failures_of_requests_do_not_eject():
    harness = Harness(server("a"), passive=PassiveSpec(failures=3, statuses=((500, 599),)))
    for _ in range(20):
        harness.pool.request_failed(harness["a"], "HTTP 503", 1.0)
        harness.pool.request_failed(harness["a"], "HTTP 503", 1.0)
        harness.pool.request_succeeded(harness["a"], 1.0)
    assert harness.events == []


def test_without_failures_that_count_no_request_ejects():
    harness = Harness(server("a"), passive=PassiveSpec(failures=0, statuses=((500, 599),)))
    for _ in range(20):
        harness.pool.request_failed(harness["a"], "HTTP 503", 1.0)
    assert harness.events == []
    assert harness["a"].health.success_matters_from == float("inf")
