"""A configuration with discovered servers."""

from __future__ import annotations

import math

import attrs
from hypothesis import given
from hypothesis import strategies as st

from lb.config.load import parse
from lb.control.plan import plan
from lb.discovery.dns import DnsServers
from lb.discovery.dns_records import in_order, servers_at
from lb.discovery.file import FileServers
from lb.discovery.merge import Known, SourceKey, complete, held_servers
from lb.discovery.sources import sources
from lb.events import DiscoveryFailed, DiscoveryRestored
from lb.model import ServerSpec
from lb.model.address import Address

TEXT = """
[listeners.web]
bind = ":1"
[listeners.short]
bind = ":2"
servers = [{ dns = "short.internal", port = 80 }]
[pools.web]
servers = [
  "10.0.0.1:80",
  { dns = "web.internal", port = 80, weight = 3, max_connections = 9 },
  { dns = "_x._tcp.web", backup = true },
]
servers_file = "list"
nameservers = ["127.0.0.1:5353"]
[pools.other]
servers = ["10.0.0.9:80"]
"""
CONFIG = parse(TEXT, "dir/lb.toml")
ALONE = parse('listeners.web.bind = ":1"\npools.web.servers = [{ dns = "web.internal", port = 80 }]', "lb.toml")
DNS = SourceKey("web", "dns web.internal:80")
SRV = SourceKey("web", "dns _x._tcp.web")
FILE = SourceKey("web", "file dir/list")
SHORT = SourceKey("short", "dns short.internal:80")


def spec(text, **more):
    return ServerSpec(text, Address.parse(text), **more)


def test_all_sources_are_named_with_the_way_to_look():
    servers = (Address.parse("127.0.0.1:5353"),)
    assert sources(CONFIG) == {
        DNS: DnsServers("web.internal", 80, servers),
        SRV: DnsServers("_x._tcp.web", 0, servers),
        FILE: FileServers("dir/list"),
        SHORT: DnsServers("short.internal", 80, ()),
    }


def test_servers_that_are_found_follow_those_that_are_listed_with_what_their_source_says():
    found = {
        FILE: Known((spec("10.0.0.4:80", weight=7), spec("10.0.0.3:80"))),
        SRV: Known((spec("10.0.0.3:80", weight=5),)),
        DNS: Known(servers_at(80, ["10.0.0.1", "10.0.0.2"])),
        SHORT: Known(servers_at(80, ["10.0.0.2"])),
    }
    config = complete(CONFIG, found)
    assert config.pools["web"].servers == (
        spec("10.0.0.1:80"),
        spec("10.0.0.2:80", weight=3, max_connections=9),
        spec("10.0.0.3:80", weight=5, backup=True),
        spec("10.0.0.4:80", weight=7),
    )
    assert config.pools["short"].servers == (spec("10.0.0.2:80"),)


def test_pools_without_sources_are_not_touched():
    assert complete(CONFIG, {}).pools["other"] is CONFIG.pools["other"]


def test_nothing_found_leaves_what_is_written():
    assert complete(CONFIG, {}) == CONFIG


SETS = st.lists(st.integers(1, 20).map(lambda last: f"10.0.1.{last}"), max_size=8)


@given(SETS, SETS, SETS)
def test_only_what_comes_and_goes_is_in_the_plan(before, after, file):
    in_file = Known(tuple(spec(f"{host}:81") for host in dict.fromkeys(file)))
    old = complete(CONFIG, {DNS: Known(servers_at(80, before)), FILE: in_file})
    new = complete(CONFIG, {FILE: in_file, DNS: Known(servers_at(80, after))})
    steps = plan(old, new)
    assert set(steps.added) == {f"web/{host}:80" for host in set(after) - set(before)}
    assert set(steps.removed) == {f"web/{host}:80" for host in set(before) - set(after)}
    assert steps.changed == ()
    assert steps.is_empty == (set(before) == set(after))


@given(SETS)
def test_what_is_complete_may_be_completed_again(found):
    known = {DNS: Known(servers_at(80, found)), SRV: Known(servers_at(80, found))}
    once = complete(CONFIG, known)
    assert complete(once, known) == once
    names = [server.name for server in once.pools["web"].servers]
    assert len(set(names)) == len(names)


ONE, TWO = servers_at(80, ["10.0.0.1"]), servers_at(80, ["10.0.0.1", "10.0.0.2"])


def take(known, source, servers, errors):
    """Take the result of a look-up, as the watcher does."""
    if servers:
        known.list(servers, 0.0, 0.0)
    return known.note(source, servers, errors)


def test_a_failure_keeps_the_last_good_set_and_is_said_once():
    known = Known()
    assert take(known, DNS, TWO, ()) is None
    assert take(known, DNS, (), ("SERVFAIL",)) == DiscoveryFailed("web", "dns web.internal:80", ("SERVFAIL",), 2)
    assert take(known, DNS, (), ()) is None
    assert known.servers == TWO
    assert take(known, DNS, ONE, ()) == DiscoveryRestored("web", "dns web.internal:80", 2, 1)
    assert take(known, DNS, ONE, ()) is None


def test_nothing_at_all_is_a_failure():
    assert take(Known(), DNS, (), ()) == DiscoveryFailed(*DNS, ("there are no servers",), 0)


def test_a_look_that_failed_in_part_brings_what_it_found():
    known = Known(ONE)
    assert take(known, DNS, TWO, ("AAAA: SERVFAIL",)) == DiscoveryFailed(*DNS, ("AAAA: SERVFAIL",), 2)
    assert known.servers == TWO


LOOKS = st.lists(st.tuples(st.sampled_from([(), ONE, TWO]), st.sampled_from([(), ("an error",)])))


@given(LOOKS)
def test_in_any_history_failures_and_recoveries_take_turns(looks):
    known = Known()
    events = [event for servers, errors in looks if (event := take(known, DNS, servers, errors)) is not None]
    assert [type(event) for event in events] == [DiscoveryFailed, DiscoveryRestored] * (len(events) // 2) + (
        [DiscoveryFailed] * (len(events) % 2)
    )
    good = [servers for servers, _ in looks if servers]
    assert known.servers == (good[-1] if good else ())
    assert bool(known.failures) == bool(looks and (looks[-1][1] or not looks[-1][0]))


def test_an_identity_outlasts_other_settings():
    changed = attrs.evolve(CONFIG.pools["web"], nameservers=(), dns=CONFIG.pools["web"].dns[::-1])
    assert sources(attrs.evolve(CONFIG, pools={"web": changed})).keys() == {DNS, SRV, FILE}


# Records that vanish


def test_a_server_without_its_record_is_held_in_its_place_and_comes_back():
    known = Known(TWO)
    known.list(servers_at(80, ["10.0.0.2", "10.0.0.3"]), now=10.0, hold=60.0)
    found = {DNS: known}
    assert [server.name for server in known.all_servers] == ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]
    assert held_servers(ALONE, found) == {("web", "10.0.0.1:80")}
    known.list(TWO, now=20.0, hold=60.0)
    assert held_servers(ALONE, found) == {("web", "10.0.0.3:80")}
    assert plan(complete(ALONE, {DNS: Known(TWO)}), complete(ALONE, found)).added == ("web/10.0.0.3:80",)


def test_it_is_held_until_its_time_is_over():
    known = Known(TWO)
    known.list(ONE, now=10.0, hold=60.0)
    assert known.next_end == 70.0
    known.end_hold(69.0)
    assert known.all_servers == TWO
    known.end_hold(70.0)
    assert known.all_servers == ONE
    assert known.next_end == math.inf


def test_nothing_is_held_without_a_time():
    known = Known(TWO)
    known.list(ONE, now=10.0, hold=0.0)
    assert known.all_servers == ONE


def test_what_another_source_or_the_file_still_has_is_not_held():
    gone = Known(TWO)
    gone.list(ONE, now=0.0, hold=60.0)
    assert not held_servers(CONFIG, {DNS: gone, SRV: Known(TWO)})
    assert held_servers(CONFIG, {DNS: gone, SRV: Known(ONE)}) == {("web", "10.0.0.2:80")}
    gone.list(TWO[1:], now=0.0, hold=60.0)
    assert not held_servers(CONFIG, {DNS: gone}), "10.0.0.1:80 is listed"


@given(st.lists(st.sets(st.integers(1, 10), min_size=1, max_size=3), min_size=1))
def test_whatever_subsets_are_answered_no_server_leaves_before_its_time(subsets):
    """Name servers that answer with 3 of 10 records, each time others."""
    known, seen = Known(), set()
    for second, subset in enumerate(subsets):
        servers = servers_at(80, [f"10.0.0.{last}" for last in subset])
        known.list(servers, float(second), 60.0)
        seen |= {server.name for server in servers}
        known.end_hold(float(second))
        if second < 60:
            assert {server.name for server in known.all_servers} == seen
        assert list(known.all_servers) == list(in_order(known.all_servers))
        assert {name for _, name in held_servers(ALONE, {DNS: known})} == {
            s.name for s in known.all_servers
        } - known.names
