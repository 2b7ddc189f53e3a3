"""Several balancers: who gets the sessions when one dies, vanishes or comes back."""

from __future__ import annotations

import math
from collections import Counter

import attrs
import pytest

from lb.model import AnnounceSpec
from lb.tools.rehearse.expectation import parse_expectation
from lb.tools.rehearse.report import report_page
from lb.tools.rehearse.scenario import NodeFaultSpec, Reload, Scenario
from lb.tools.rehearse.words import as_text
from tests.support.rehearsing import HTTP, config_of, happens, rehearsed

HASH = 'strategy = { name = "consistent-hash", size = 1009 }'
THREE = ("lb1", "lb2", "lb3")


def of_node(at, does, node, **more):
    return NodeFaultSpec(at=at, nodes=(node,), does=does, **more)


def took(result, start=0.0, end=math.inf):
    """Return the sessions of each balancer that came between two times, give or take a part of the chart."""
    found = Counter()
    for number, part in enumerate(result.recorder.slices):
        if start <= number / result.recorder._per_second < end:
            found.update(part.took)
    return found


def test_clients_are_shared_equally_and_none_is_misplaced():
    result = rehearsed(config_of("a", "b", "c", pool=HASH), nodes=THREE, rate=50.0, session=0.05)
    shares = {name: result[f"sessions.{name}"] / result["sessions"] for name in THREE}
    assert sum(shares.values()) == pytest.approx(1)
    assert all(0.3 < share < 0.37 for share in shares.values()), shares
    assert (result["misplaced"], result["failed"], result["cut"], result["ejections"]) == (0, 0, 0, 0)


def test_without_several_balancers_there_are_no_figures_of_them():
    result = rehearsed(config_of("a"))
    assert not {"misplaced", "sessions.lb1"} & result.outcome.statistics.keys()
    assert "misplaced" in rehearsed(config_of("a"), nodes=("lb1",)).outcome.statistics


def test_a_balancer_that_dies_takes_its_sessions_with_it_and_new_ones_go_to_the_others_at_once():
    result = rehearsed(config_of("a", "b"), of_node(20, "die", "lb2"), nodes=THREE, rate=30.0, session=1.0)
    assert took(result, 20.5)["lb2"] == 0
    assert took(result, 0, 20)["lb2"] > 150
    assert 4 <= result["cut"] <= 18, "a third of 30 that are open"
    assert result.recorder.reasons == {("cut", "its balancer is gone"): result["cut"]}
    assert result["failed"] == result["left"] == 0
    assert result["wait.max"] < 0.002


def test_new_sessions_of_a_balancer_that_vanishes_wait_until_that_is_detected():
    result = rehearsed(config_of("a", "b"), of_node(20, "vanish", "lb2"), nodes=THREE, detect=2.0, rate=30.0)
    assert result["failed"] == 0
    assert 1.5 < result["wait.max"] < 2.01
    assert 10 < sum(wait > 0.1 for part in result.recorder.slices for wait in part.waits) < 32, "a third of 60"
    assert took(result, 20.5)["lb2"] == 0
    assert result["ok"] + result["cut"] + result["open"] == result["sessions"]


def test_who_does_not_wait_so_long_fails():
    result = rehearsed(
        config_of("a"), of_node(20, "vanish", "lb2"), nodes=THREE, detect=5.0, rate=30.0, patience=0.5, session=0.1
    )
    assert 25 < result["failed"] < 70, "a third of 135"
    assert {reason for end, reason in result.recorder.reasons if end == "failed"} == {"no answer of its balancer"}
    assert result["wait.max"] < 0.51


def test_all_sessions_fail_while_no_balancer_is_there():
    faults = [of_node(20, "die", name, lasts=10) for name in THREE]
    result = rehearsed(config_of("a", pool=HTTP), *faults, nodes=THREE, rate=10.0)
    assert result.recorder.reasons["failed", "no balancer"] == result["failed"] >= 100
    assert result["ok"] > 390


@pytest.mark.parametrize("does", ["die", "vanish"])
def test_a_balancer_that_comes_back_serves_after_its_own_first_checks(does):
    pool = 'health = { probe = "http", initial = "down", interval = "5s", fast_interval = "5s" }'
    result = rehearsed(config_of("a", "b", pool=pool), of_node(20, does, "lb1", lasts=10), nodes=THREE, rate=30.0)
    ((back, text),) = [each for each in result.events("restored") if "takes sessions" in each[1]]
    assert text == "lb1 takes sessions again"
    assert 30 < back < 35.6
    assert took(result, 20.5, 30)["lb1"] == 0
    assert took(result, back + 1)["lb1"] > 100
    assert all(burst.last < 10 for burst in result.recorder.bursts if burst.end == "failed"), "the first checks of all"
    (incident,) = result.outcome.incidents
    assert incident.restored_after == pytest.approx(back - 30)
    assert incident.ejected_after == (0.5 if does == "vanish" else 0)


@pytest.mark.parametrize("checks", ["", "health = false"])
def test_one_that_announces_itself_comes_back_after_its_rise(checks):
    config = attrs.evolve(config_of("a", pool=checks), announce=AnnounceSpec(("203.0.113.5/32",), "lo", rise=3.0))
    result = rehearsed(config, of_node(20, "die", "lb2", lasts=10), nodes=THREE, duration=40.0)
    ((back, _),) = [each for each in result.events("restored") if "takes sessions" in each[1]]
    assert 33 <= back < 35.3
    assert took(result, 20.5, 33)["lb2"] == 0


def test_one_that_finds_no_server_at_its_return_gets_no_sessions():
    faults = [happens(15, "die", "a", lasts=30), of_node(20, "die", "lb2", lasts=10)]
    result = rehearsed(config_of("a", pool=HTTP), *faults, nodes=THREE)
    ((back, _),) = [each for each in result.events("restored") if "takes sessions" in each[1]]
    assert 45 < back < 50
    assert took(result, 20.5, 45)["lb2"] == 0


def test_the_last_fault_of_a_balancer_counts():
    faults = [
        of_node(10, "vanish", "lb2", lasts=20),
        of_node(20, "recover", "lb2"),
        of_node(25, "die", "lb2"),
        of_node(26, "die", "lb2"),
    ]
    result = rehearsed(config_of("a"), *faults, nodes=THREE, rate=30.0)
    assert took(result, 20.5, 25)["lb2"] > 20
    assert took(result, 25.5)["lb2"] == 0, "the first fault's end is no recovery any more"


def test_one_that_is_back_before_its_loss_was_detected_is_the_same_for_new_sessions():
    result = rehearsed(
        config_of("a"), of_node(20, "vanish", "lb2", lasts=1), nodes=THREE, detect=5.0, rate=30.0, patience=20.0
    )
    assert result["failed"] == 0
    assert not [text for _, text in result.events("ejected") if "others" in text]
    assert result["wait.max"] < 5.01


def test_sessions_are_misplaced_while_balancers_judge_a_server_differently():
    pool = f'{HASH}\nhealth = {{ probe = "http", interval = "5s", fall = 1 }}'
    result = rehearsed(
        config_of("a", "b", "c", pool=pool),
        happens(20, "fail", "b"),
        nodes=THREE,
        rate=60.0,
        session=0.05,
        duration=40.0,
    )
    found = [at for at, text in result.events("ejected")]
    assert len(found) == 3
    window = max(found) - min(found)
    assert window > 0.5
    assert result["misplaced"] == pytest.approx(60 * window / 3, rel=0.35), "the keys of one server of three"


def test_a_server_that_refuses_connects_misplaces_nobody():
    result = rehearsed(config_of("a", "b", "c", pool=HASH), happens(20, "die", "b"), nodes=THREE, session=0.05)
    assert result["moved"] > 0
    assert len({at for at, _ in result.events("ejected")}) == 3, "not at the same time"
    assert result["misplaced"] == 0


def test_pools_that_do_not_hash_misplace_nobody():
    pool = 'strategy = "round-robin"\nhealth = { probe = "http", fall = 1 }'
    result = rehearsed(config_of("a", "b", pool=pool), happens(20, "fail", "b"), nodes=THREE)
    assert result["misplaced"] == 0


def test_the_time_to_eject_is_that_of_the_last_balancer():
    result = rehearsed(config_of("a", "b", pool=HTTP), happens(20, "hang", "b", lasts=20), nodes=THREE)
    ejected = [at for at, text in result.events("ejected")]
    restored = [at for at, text in result.events("restored")]
    assert len(ejected) == len(restored) == 3
    assert result["time_to_eject.web/b"] == pytest.approx(max(ejected) - 20)
    assert result["time_to_restore"] == pytest.approx(max(restored) - 40)
    assert result["ejections.web/b"] == 3


def test_a_balancer_that_goes_before_it_judged_does_not_count():
    faults = [happens(20, "hang", "b", lasts=20), of_node(21, "die", "lb1")]
    result = rehearsed(config_of("a", "b", pool=HTTP), *faults, nodes=THREE)
    ejected = [at for at, text in result.events("ejected") if "web/b" in text]
    assert len(ejected) == 2
    assert result["time_to_eject"] == pytest.approx(max(ejected) - 20)


def test_a_reload_reaches_all_balancers_and_one_that_starts_later():
    reload = Reload(20, "new.toml", config_of("a", "c"))
    result = rehearsed(config_of("a", "b"), of_node(10, "die", "lb2", lasts=20), reload, nodes=THREE, duration=59.0)
    assert [text for _, text in result.events("reload")] == [
        "reload of new.toml",
        "lb1: configuration applied: added web/c; removed web/b",
        "lb3: configuration applied: added web/c; removed web/b",
    ]
    shares = {name: result[f"sessions.web/{name}"] for name in "abc"}
    late = rehearsed(config_of("a", "c"), nodes=THREE, duration=59.0)
    assert shares["c"] > late["sessions.web/c"] / 3
    assert result["faults"] == 0


def test_text_and_report_tell_of_the_balancers():
    faults = [of_node(20, "vanish", "lb2", lasts=10), happens(40, "die", "b", lasts=5)]
    result = rehearsed(config_of("a", "b", pool=HASH), *faults, nodes=THREE, rate=5.0)
    scenario = Scenario(duration=60.0, nodes=THREE)
    text = as_text(
        scenario, result.recorder, result.outcome, [parse_expectation("misplaced < 5%", result.outcome.statistics)]
    )
    assert text.startswith("1m rehearsed with 3 balancers, seed 1\n")
    assert "lb2 vanishes" in text
    assert "lb2: new sessions go to the others" in text
    assert "\nmisplaced " in text
    page = report_page("t", scenario, result.recorder, result.outcome, [])
    for part in ("3 balancers", "Sessions per second, by balancer", "Misplaced", "lb2 vanishes", "ejected by lb1"):
        assert part in page, part
