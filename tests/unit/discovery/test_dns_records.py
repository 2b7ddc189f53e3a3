"""Records to servers: the same servers for the same records, in any order."""

from __future__ import annotations

import ipaddress
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.discovery.dns_records import (
    MAX_SRV_WEIGHT,
    DnsAnswer,
    DnsQuestion,
    Failure,
    Round,
    Service,
    pause,
    servers_at,
    servers_of,
)
from lb.model import ServerSpec
from lb.model.address import Address

IPS = st.ip_addresses().map(str) | st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "0.0.0.0", "::"])
TARGETS = st.sampled_from(["a.internal", "b.internal", ""])
SERVICES = st.lists(
    st.builds(Service, st.integers(0, 3), st.integers(0, 65_535), st.integers(0, 3), TARGETS), max_size=8
)
ADDRESSES = st.dictionaries(TARGETS, st.lists(IPS, max_size=4))


def shown(servers):
    return [(server.name, server.weight, server.backup) for server in servers]


def test_each_address_is_a_server_named_by_it():
    assert servers_at(80, ["fd00::1", "10.0.0.10", "10.0.0.9", "10.0.0.9"]) == tuple(
        ServerSpec(text, Address.parse(text)) for text in ("10.0.0.9:80", "10.0.0.10:80", "[fd00::1]:80")
    )


@pytest.mark.parametrize("nowhere", ["0.0.0.0", "::", "224.0.0.1", "ff02::1"])
def test_what_can_be_no_server_is_left_out(nowhere):
    assert shown(servers_at(80, [nowhere, "10.0.0.1"])) == [("10.0.0.1:80", 1, False)]


@given(st.lists(IPS), st.randoms())
def test_the_order_of_addresses_and_duplicates_make_no_difference(addresses, random):
    again = addresses * 2
    random.shuffle(again)
    assert servers_at(80, again) == servers_at(80, addresses)


@given(st.lists(IPS), st.integers(1, 65_535))
def test_names_are_unique_and_spell_the_address(addresses, port):
    servers = servers_at(port, addresses)
    assert len({server.name for server in servers}) == len(servers)
    for server in servers:
        parsed = Address.parse(server.name)
        assert (parsed, parsed.host, parsed.port) == (server.address, server.address.host, port)
        assert not parsed.is_name
        assert "/" not in server.name


A = {"a": ["10.0.0.1"], "b": ["10.0.0.2"], "c": ["10.0.0.3"]}


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ([(1, 5, 80, "a")], [("10.0.0.1:80", 1, False)]),
        ([(1, 10, 80, "a"), (1, 30, 81, "a")], [("10.0.0.1:80", 1, False), ("10.0.0.1:81", 3, False)]),
        ([(1, 33, 80, "a"), (1, 33, 80, "b")], [("10.0.0.1:80", 1, False), ("10.0.0.2:80", 1, False)]),
        ([(1, 0, 80, "a"), (1, 0, 80, "b")], [("10.0.0.1:80", 1, False), ("10.0.0.2:80", 1, False)]),
        ([(1, 0, 80, "a"), (1, 9, 80, "b")], [("10.0.0.1:80", 1, False), ("10.0.0.2:80", 9, False)]),
        ([(1, 65_535, 80, "a"), (1, 1, 80, "b")], [("10.0.0.1:80", 256, False), ("10.0.0.2:80", 1, False)]),
        (
            [(7, 1, 80, "b"), (5, 4, 80, "a"), (9, 2, 80, "c")],
            [("10.0.0.1:80", 1, False), ("10.0.0.2:80", 1, True), ("10.0.0.3:80", 2, True)],
        ),
        ([(5, 4, 80, "a"), (1, 2, 80, "a"), (1, 9, 80, "a")], [("10.0.0.1:80", 1, False)]),
        ([(1, 1, 80, "unknown"), (1, 1, 0, "a"), (1, 1, 80, "")], []),
        ([(1, 1, 80, "unknown"), (2, 1, 80, "a")], [("10.0.0.1:80", 1, False)]),
    ],
)
def test_what_services_come_to(services, expected):
    assert shown(servers_of([Service(*each) for each in services], A)) == expected


@given(SERVICES, ADDRESSES, st.randoms())
def test_the_order_of_services_makes_no_difference(services, addresses, random):
    expected = servers_of(services, addresses)
    again = services * 2
    random.shuffle(again)
    assert servers_of(again, {target: found[::-1] for target, found in addresses.items()}) == expected


@given(SERVICES, ADDRESSES)
def test_any_services_are_servers_that_a_pool_takes(services, addresses):
    servers = servers_of(services, addresses)
    assert len({server.name for server in servers}) == len(servers)
    assert all(1 <= server.weight <= MAX_SRV_WEIGHT for server in servers)
    assert not servers or not servers[0].backup, "the first server must be primary"
    assert all(not before.backup or after.backup for before, after in pairwise(servers))
    assert {server.address.port for server in servers} <= {1, 2, 3}


@given(st.lists(st.integers(0, 65_535), min_size=1, max_size=20))
def test_weights_keep_their_proportions(weights):
    services = [Service(0, weight, number, "a") for number, weight in enumerate(weights, 1)]
    found = [server.weight for server in servers_of(services, A)]
    heaviest = max(*weights, 1)
    for weight, server in zip(weights, found, strict=True):
        share = max(weight, 1) / heaviest
        assert server == pytest.approx(share * max(found), abs=0.5 if server > 1 else 1)


@pytest.mark.parametrize(
    ("ttl", "failed", "seconds"),
    [
        (0, False, 1),
        (1, False, 1),
        (30, False, 30),
        (86_400, False, 300),
        (math.inf, True, 2),
        (0, True, 1),
        (60, True, 2),
    ],
)
def test_the_ttl_counts_within_bounds(ttl, failed, seconds):
    assert pause(ttl, failed=failed) == seconds


@given(st.floats(0, allow_nan=False), st.booleans())
def test_there_is_always_a_pause_and_never_a_long_one(ttl, failed):
    assert 1 <= pause(ttl, failed=failed) <= (2 if failed else 300)


WEB = DnsQuestion("web", "A"), DnsQuestion("web", "AAAA")


def round_of(before, *outcomes):
    now = Round(before)
    for question, outcome in zip(WEB, outcomes, strict=True):
        now.take(question, outcome)
    return now


def test_a_question_that_fails_gets_its_last_good_answer():
    first = round_of(None, DnsAnswer(("10.0.0.1",), 30), DnsAnswer(("fd00::1",), 20))
    assert (first.addresses("web"), first.errors, first.ttl) == (["10.0.0.1", "fd00::1"], (), 20)
    second = round_of(first, DnsAnswer(("10.0.0.2",), 30), Failure("SERVFAIL"))
    assert (second.addresses("web"), second.errors) == (["10.0.0.2", "fd00::1"], ("web AAAA: SERVFAIL",))
    third = round_of(second, Failure("SERVFAIL"), Failure("SERVFAIL"))
    assert third.addresses("web") == ["10.0.0.2", "fd00::1"]
    assert third.errors == ("web A: SERVFAIL", "web AAAA: SERVFAIL")
    assert round_of(third, DnsAnswer((), 5), DnsAnswer((), 5)).addresses("web") == []


def test_who_never_had_an_answer_has_none():
    assert round_of(None, DnsAnswer(("10.0.0.1",), 30), Failure("SERVFAIL")).addresses("web") == ["10.0.0.1"]


def test_services_and_addresses_are_told_apart():
    now = Round()
    service = Service(0, 0, 80, "a")
    now.take(DnsQuestion("web", "SRV"), DnsAnswer((service,), 5))
    assert (now.services("web"), now.addresses("web"), now.services("a")) == ([service], [], [])


@given(st.lists(st.tuples(st.sampled_from(WEB), st.booleans(), st.lists(IPS, max_size=3)), max_size=30))
def test_any_history_gives_of_each_kind_the_last_good_answer(history):
    last, good = None, {}
    for question, works, addresses in history:
        last, before = Round(last), last
        other = next(each for each in WEB if each != question)
        last.take(other, Failure("SERVFAIL"))
        last.take(question, DnsAnswer(tuple(addresses), 5) if works else Failure("timed out"))
        if works:
            good[question] = addresses
        assert last.addresses("web") == [each for kind in WEB for each in good.get(kind, [])]
        assert bool(last.errors)
        assert before is None or before is not last
    assert all(ipaddress.ip_address(each) for each in (last.addresses("web") if last else []))
