"""What is known from a source of servers: what stays, what drains, what is said."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from lb.config.load import parse
from lb.control.plan import plan
from lb.discovery.dns_records import in_order, servers_at
from lb.discovery.known import Known
from lb.discovery.merge import complete, held_servers
from lb.events import DiscoveryFailed, DiscoveryRestored
from tests.unit.discovery.test_merge import CONFIG, DNS, SRV

ALONE = parse('listeners.web.bind = ":1"\npools.web.servers = [{ dns = "web.internal", port = 80 }]', "lb.toml")
ONE, TWO = servers_at(80, ["10.0.0.1"]), servers_at(80, ["10.0.0.1", "10.0.0.2"])


WHERE = "at web.internal:80"


def take(known, servers, errors=(), now=0.0, hold_all=60.0):
    """Take the result of a look-up, as the watcher does."""
    known.take(servers, now, "dns", 0.0, hold_all)
    return known.note(DNS, WHERE, servers, errors, now)


def test_a_failure_keeps_the_last_good_set_and_is_said_once():
    known = Known()
    assert take(known, TWO) is None
    assert take(known, None, ("SERVFAIL",)) == DiscoveryFailed("web", "dns web.internal:80", ("SERVFAIL",), 2)
    assert take(known, None, ("SERVFAIL",)) is None
    assert known.servers == TWO
    assert take(known, ONE) == DiscoveryRestored("web", "dns web.internal:80", 2, 1)
    assert take(known, ONE) is None


def test_nothing_at_all_is_a_failure():
    assert take(Known(), ()) == DiscoveryFailed(*DNS, ("no server at web.internal:80",), 0)


def test_a_look_that_failed_in_part_brings_what_it_found():
    known = Known(ONE)
    assert take(known, TWO, ("AAAA: SERVFAIL",)) == DiscoveryFailed(*DNS, ("AAAA: SERVFAIL",), 2)
    assert known.servers == TWO


def test_each_kind_of_failure_is_said_when_it_begins_and_all_are_over_at_the_end():
    known = Known()
    take(known, TWO)
    assert take(known, ONE, ("b: bad",)) == DiscoveryFailed(*DNS, ("b: bad",), 1)
    assert take(known, ONE, ("b: bad", "c: bad")) is None
    assert take(known, None, ("refused",)) == DiscoveryFailed(*DNS, ("refused", "b: bad", "c: bad"), 1)
    assert take(known, None, ("refused",)) is None
    assert take(known, ONE, ("c: bad",)) is None
    assert known.error == "c: bad"
    assert known.note_file(DNS, "disk full", 0.0) == DiscoveryFailed(*DNS, ("disk full", "c: bad"), 1)
    assert take(known, ONE) is None
    assert known.note_file(DNS, "", 0.0) == DiscoveryRestored(*DNS, 7, 1)


LOOKS = st.lists(st.tuples(st.sampled_from([None, (), ONE, TWO]), st.sampled_from([(), ("an error",)])))


@given(LOOKS)
def test_in_any_history_all_failures_are_over_when_that_is_said(looks):
    known, failing = Known(), False
    for servers, errors in looks:
        event = take(known, servers, errors)
        assert isinstance(event, DiscoveryRestored) == (failing and not known.failures)
        failing = bool(errors or not servers)
        assert bool(known.failures) == failing
    good = [servers for servers, _ in looks if servers]
    assert known.servers in (good or [()])


def test_what_a_file_remembers_counts_until_there_is_an_answer():
    known = Known(since=0.0)
    known.remember(TWO, 1.0)
    assert (known.servers, known.origin, known.since) == (TWO, "file", 1.0)
    take(known, None, ("refused",), now=2.0)
    assert (known.servers, known.origin, known.since) == (TWO, "file", 2.0)
    take(known, ONE, now=3.0)
    assert (known.servers, known.origin, known.since) == (ONE, "dns", 3.0)
    known.remember(TWO, 4.0)
    assert known.servers == ONE


# All are missing


def test_when_all_are_missing_those_of_a_second_ago_stay_for_their_time():
    known = Known()
    take(known, TWO, now=0.0)
    take(known, ONE, now=10.0)
    failed = take(known, (), now=10.5)
    assert failed == DiscoveryFailed(*DNS, ("no server at web.internal:80, the last 2 stay for 1m",), 2)
    assert known.servers == TWO, "leases that end together end one after the other"
    assert known.next_end == 70.5
    assert take(known, (), now=30.0) is None
    assert known.next_end == 70.5
    known.end_hold(70.0)
    assert known.servers == TWO
    known.end_hold(70.5)
    assert known.servers == ()
    assert known.next_end == math.inf
    assert take(known, (), now=80.0) is None
    assert known.error == "no server at web.internal:80"


def test_what_left_earlier_does_not_come_back():
    known = Known()
    take(known, TWO, now=0.0)
    take(known, ONE, now=10.0)
    take(known, (), now=11.0)
    assert known.servers == ONE


def test_without_a_time_it_is_believed_at_once():
    known = Known()
    take(known, TWO)
    assert take(known, (), now=5.0, hold_all=0.0) == DiscoveryFailed(*DNS, ("no server at web.internal:80",), 0)
    assert known.servers == ()


def test_one_good_server_ends_the_time_of_those_that_stay():
    known = Known()
    take(known, TWO)
    take(known, (), now=5.0)
    assert take(known, ONE, now=6.0) == DiscoveryRestored(*DNS, 1, 1)
    assert known.servers == ONE
    assert known.next_end == math.inf


def test_while_nobody_answers_they_stay_without_end():
    known = Known()
    take(known, TWO)
    take(known, (), now=5.0)
    take(known, None, ("refused",), now=6.0)
    assert known.next_end == math.inf
    take(known, (), now=500.0)
    assert known.next_end == 560.0


def test_who_drains_stays_in_traffic_when_all_are_missing_a_moment_later():
    known = Known()
    known.take(TWO, 0.0, "dns", 60.0, 60.0)
    known.take(ONE, 5.0, "dns", 60.0, 60.0)
    known.take((), 5.5, "dns", 60.0, 60.0)
    assert known.all_servers == TWO
    assert not known.held


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from([None, (), ONE, TWO])), max_size=20))
def test_an_empty_answer_takes_no_server_out_of_traffic_at_once(looks):
    known, now = Known(), 0.0
    for pause, servers in [(0.0, TWO), *looks]:
        now += pause
        known.end_hold(now)
        had = known.servers
        take(known, servers, now=now, hold_all=4.0)
        if not servers:
            assert bool(known.servers) == bool(had)
        if servers == () and had:
            assert now < known.next_end <= now + 4.0


# Records that vanish


def test_a_server_without_its_record_is_held_in_its_place_and_comes_back():
    known = Known(TWO)
    known.take(servers_at(80, ["10.0.0.2", "10.0.0.3"]), 10.0, "dns", hold=60.0)
    found = {DNS: known}
    assert [server.name for server in known.all_servers] == ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
    assert held_servers(ALONE, found) == {("web", "10.0.0.1:80")}
    known.take(TWO, 20.0, "dns", hold=60.0)
    assert held_servers(ALONE, found) == {("web", "10.0.0.3:80")}
    assert plan(complete(ALONE, {DNS: Known(TWO)}), complete(ALONE, found)).added == ("web/10.0.0.3:80",)


def test_it_is_held_until_its_time_is_over():
    known = Known(TWO)
    known.take(ONE, 10.0, "dns", hold=60.0)
    assert known.next_end == 70.0
    known.end_hold(69.0)
    assert known.all_servers == TWO
    known.end_hold(70.0)
    assert known.all_servers == ONE
    assert known.next_end == math.inf


def test_nothing_is_held_without_a_time():
    known = Known(TWO)
    known.take(ONE, 10.0, "dns", hold=0.0)
    assert known.all_servers == ONE


def test_what_another_source_or_the_file_still_has_is_not_held():
    gone = Known(TWO)
    gone.take(ONE, 0.0, "dns", hold=60.0)
    assert not held_servers(CONFIG, {DNS: gone, SRV: Known(TWO)})
    assert held_servers(CONFIG, {DNS: gone, SRV: Known(ONE)}) == {("web", "10.0.0.2:80")}
    gone.take(TWO[1:], 0.0, "dns", hold=60.0)
    assert not held_servers(CONFIG, {DNS: gone}), "10.0.0.1:80 is listed"


@given(st.lists(st.sets(st.integers(1, 10), min_size=1, max_size=3), min_size=1))
def test_whatever_subsets_are_answered_no_server_leaves_before_its_time(subsets):
    """Name servers that answer with 3 of 10 records, each time others."""
    known, seen = Known(), set()
    for second, subset in enumerate(subsets):
        servers = servers_at(80, [f"10.0.0.{last}" for last in subset])
        known.take(servers, float(second), "dns", 60.0)
        seen |= {server.name for server in servers}
        known.end_hold(float(second))
        if second < 60:
            assert {server.name for server in known.all_servers} == seen
        assert list(known.all_servers) == list(in_order(known.all_servers))
        assert {name for _, name in held_servers(ALONE, {DNS: known})} == {
            s.name for s in known.all_servers
        } - known.names
