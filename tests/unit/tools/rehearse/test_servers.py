"""Faults of simulated servers, and how the real balancer reacts."""

from __future__ import annotations

import math

import pytest

from lb.tools.rehearse.scenario import ClientsSpec, Reload
from tests.support.rehearsing import HTTP, config_of, happens, rehearsed


def test_servers_that_are_well_share_the_sessions_and_none_fails():
    result = rehearsed(config_of("a", "b", "c"), duration=30.01)
    assert [result[f"sessions.web/{name}"] for name in "abc"] == [200, 200, 200]
    assert (result["sessions"], result["ok"], result["open"]) == (600, 590, 10)
    assert result.outcome.timeline == []


def test_a_server_that_dies_takes_its_open_sessions_with_it_and_no_other():
    result = rehearsed(config_of("a", "b", "c"), happens(20, "die", "b"))
    assert 2 <= result["cut"] <= 4, "a third of twenty a second, which last half a second"
    assert result["failed"] == 0
    assert result["moved"] == result["retries"] == 3, "so many failed connects eject"
    ((ejected_at, text),) = result.events("ejected")
    assert text == "web/b ejected: connection refused (passive)"
    assert 20 < ejected_at < 20.5
    assert result["time_to_eject.web/b"] == pytest.approx(ejected_at - 20)


def test_a_server_that_comes_back_is_restored_by_its_checks():
    result = rehearsed(config_of("a", "b", "c"), happens(20, "die", "b", lasts=10))
    ((restored_at, _),) = result.events("restored")
    assert 30 < restored_at < 34.4, "two passes, at intervals of 2 s and 0.5 s, and a tenth of jitter"
    assert result["time_to_restore.web/b"] == pytest.approx(restored_at - 30)
    assert result["sessions.web/b"] > 20 * 45 / 3


def test_connects_to_a_server_that_vanishes_time_out_and_go_elsewhere():
    result = rehearsed(config_of("a", "b", pool='connect_timeout = "1s"'), happens(20, "vanish", "b", lasts=10))
    assert result["failed"] == result["cut"] == 0
    assert result["moved"] > 0
    assert 1 < result["wait.max"] < 1.01
    (_, text), *_ = result.events("ejected")
    assert "timed out" in text or "no answer" in text


def test_who_is_connected_to_a_server_that_vanishes_waits_and_goes_on_when_it_is_back():
    result = rehearsed(config_of("a"), happens(20, "vanish", "a", lasts=2), happens(50, "vanish", "a"), rate=2.0)
    assert result["cut"] == result["left"] == 0
    assert result["ok"] > 2 * 40


def test_an_idle_session_is_cut_when_its_time_is_over():
    result = rehearsed(config_of("a", listener='idle_timeout = "5s"'), happens(20, "hang", "a", lasts=10), rate=2.0)
    assert result.recorder.reasons["cut", "idle_timeout"] == result["cut"] > 0


@pytest.mark.parametrize(("health", "ejections"), [("", 0), (HTTP, 1)], ids=["tcp", "http"])
def test_only_checks_that_ask_for_something_find_a_server_that_hangs(health, ejections):
    result = rehearsed(config_of("a", "b", pool=health), happens(20, "hang", "b", lasts=15))
    assert result["ejections.web/b"] == ejections
    if ejections:
        assert [text for _, text in result.events("ejected")] == ["web/b ejected: no answer in 1 s (active)"]
        assert 2 < result["time_to_eject.web/b"] < 6


@pytest.mark.parametrize(("health", "ejections"), [("", 0), (HTTP, 1)], ids=["tcp", "http"])
def test_a_server_that_fails_its_checks_serves_on(health, ejections):
    result = rehearsed(config_of("a", "b", pool=health), happens(20, "fail", "b", lasts=15))
    assert result["ejections.web/b"] == ejections
    assert result["failed"] == result["cut"] == 0


def test_sessions_with_a_slow_server_last_longer():
    quick, slow = (
        rehearsed(config_of("a", "b"), *events, rate=10.0) for events in ([], [happens(0, "slow", "a", by=6)])
    )
    assert slow["open"] - quick["open"] == pytest.approx(5 * 2.5, abs=1), "half of ten a second, 2.5 s longer"
    assert slow["wait.max"] > 5 * quick["wait.max"]


def test_least_conn_gives_a_slow_server_less():
    result = rehearsed(config_of("a", "b", pool='strategy = "least-conn"'), happens(0, "slow", "a", by=6))
    assert result["share.web/a"] < 25


def test_a_server_that_flaps_ends_well():
    result = rehearsed(config_of("a", "b"), happens(10, "flap", "b", every=5.0, lasts=30.0))
    assert result["ejections.web/b"] == 3
    assert result["failed"] == 0
    assert len(result.events("restored")) == 3


def test_a_server_that_joins_was_not_there_before():
    result = rehearsed(config_of("a", "b"), happens(30, "join", "b"))
    (ejected_at, _), *_ = result.events("ejected")
    (restored_at, _), *_ = result.events("restored")
    assert ejected_at < 1 < 30 < restored_at
    assert 0 < result["time_to_restore.web/b"] < 5


def test_without_any_server_sessions_fail():
    result = rehearsed(config_of("a", "b"), happens(30, "die", "a", "b"))
    assert result["failed"] == result["sessions"] - result["ok"] - result["cut"] > 500
    asked = result.recorder.reasons["failed", "connect_failed"]
    assert 0 < asked < 10, "the sessions before both are ejected"
    assert result.recorder.reasons["failed", "no_server"] == result["failed"] - asked
    assert result["ejections"] == 2
    assert result.outcome.incidents[0].restored_after == float("inf")


def test_held_sessions_are_served_when_a_server_is_back():
    hold = 'when_all_down = "hold"\nhold_timeout = "30s"'
    result = rehearsed(config_of("a", "b", pool=hold), happens(20, "die", "a", "b", lasts=5))
    assert result["failed"] == 0
    assert 4 < result["wait.max"] < 10


def test_clients_without_patience_leave_while_they_are_held():
    hold = 'when_all_down = "hold"\nhold_timeout = "30s"'
    result = rehearsed(config_of("a", pool=hold), happens(20, "die", "a", lasts=10), patience=3.0)
    assert result["left"] > 100
    assert result["failed"] == 0
    assert result["wait.max"] <= 3


def test_sessions_with_a_server_that_hangs_are_not_ok():
    """By default clients waited for ever, so no session that hung ended, and all that ended were ok."""
    result = rehearsed(config_of("a", "b", pool="health = false"), happens(20, "hang", "b"))
    assert result["left"] > 100
    assert result["ok"] + result["left"] + result["open"] == result["sessions"]
    assert result["open"] < 200


@pytest.mark.parametrize("patience", [math.inf, 3600.0])
def test_sessions_that_hang_at_the_end_are_seen_however_patient_their_clients_are(patience):
    """Whoever waits for ever is never ``left``: the figures did not tell of the server that hung."""
    config = config_of("a", "b", pool="health = false")
    result = rehearsed(config, happens(20, "hang", "b"), patience=patience)
    assert 300 < result["stalled"] <= result["open"] < result["stalled"] + 100
    assert rehearsed(config, happens(20, "hang", "b", lasts=10), patience=patience)["stalled"] == 0


def test_clients_without_patience_leave_a_server_that_has_fallen_silent():
    result = rehearsed(config_of("a"), happens(20, "hang", "a", lasts=10), patience=3.0)
    assert result["left"] > 100
    assert result["cut"] == 0


def test_clients_for_whom_there_is_no_room_wait_in_the_backlog():
    result = rehearsed(config_of("a", listener="max_connections = 5"), rate=12.0, duration=20.0)
    assert result["failed"] == 0
    assert result["open"] > 30, "ten a second is all that there is room for"
    assert result["wait.max"] > 1


def test_a_server_that_a_reload_removes_gets_no_more_and_one_that_it_adds_does():
    result = rehearsed(config_of("a", "b"), Reload(30, "new.toml", config_of("a", "c")))
    assert result.events("reload") == [
        (30, "reload of new.toml"),
        (30, "configuration applied: added web/c; removed web/b"),
    ]
    assert result["sessions.web/b"] == pytest.approx(300, abs=1)
    assert result["sessions.web/c"] == pytest.approx(300, abs=1)
    assert result["failed"] == result["cut"] == 0


def test_clients_of_a_listener_that_is_gone_are_refused():
    other = config_of("a")
    other.listeners["gone"] = other.listeners.pop("web")
    result = rehearsed(config_of("a"), Reload(30, "new.toml", other))
    assert result.recorder.reasons["failed", "refused"] == result["failed"] == pytest.approx(600, abs=1)


def test_clients_who_are_denied_have_failed():
    result = rehearsed(config_of("a", listener='deny = ["10.0.0.0/17"]'), duration=20.0)
    assert result.recorder.reasons["failed", "denied"] == pytest.approx(200, abs=40)


@pytest.mark.parametrize("distribution", ["exponential", "fixed", "lognormal"])
def test_sessions_have_the_length_and_arrivals_the_rate_that_is_wanted(distribution):
    clients = ClientsSpec("all", "web", rate=300.0, session=1.5, distribution=distribution, begins=5.0, ends=25.0)
    result = rehearsed(config_of("a"), clients=[clients], duration=20.0)
    assert result["sessions"] == pytest.approx(4500, rel=0.06)
    assert result["open"] == pytest.approx(450, rel=0.15), "Little's law: 300 a second for 1.5 s"


# Clients with several sessions


def test_a_client_has_as_many_requests_as_said_on_average_with_pauses_between():
    several = {"rate": 2.0, "session": 0.2, "requests": 5.0, "pause": 2.0}
    result = rehearsed(config_of("a", "b"), duration=1000.0, **several)
    assert result["sessions"] / (2.0 * 1000) == pytest.approx(5, rel=0.1)
    assert result["failed"] == result["cut"] == 0
    alone = rehearsed(config_of("a", "b"), duration=1000.0, **{**several, "requests": 1.0})
    assert alone["sessions"] == pytest.approx(2000, abs=1)


def test_requests_of_a_connection_come_from_one_address_and_each_has_a_lease_of_its_own():
    by_address = config_of("a", "b", pool='strategy = { name = "consistent-hash", key = "source-ip-port" }')
    one = rehearsed(by_address, rate=0.001, begins=0.0, duration=2000.0, requests=300.0, pause=0.5, session=0.5)
    assert one["sessions"] > 20
    assert 100.0 in (one["share.web/a"], one["share.web/b"]), "all requests of the one connection have one address"
    spread = rehearsed(config_of("a", "b"), rate=0.001, duration=2000.0, requests=300.0, pause=0.5, session=0.5)
    assert spread["share.web/a"] == pytest.approx(50, abs=1), "round robin over requests"


def test_a_client_whose_request_was_cut_has_no_further_ones():
    result = rehearsed(
        config_of("a"), happens(5, "die", "a"), rate=10.0, ends=1.0, requests=1e9, pause=0.1, session=1.0
    )
    assert result["cut"] > 0
    assert result["cut"] + result["failed"] == result["sessions"] - result["ok"]
    assert result["failed"] + result["cut"] <= 10, "no more than the ten clients there were"
