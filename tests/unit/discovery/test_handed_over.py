"""What a source knows arrives at the successor of an upgrade as it was, whatever the clock there shows."""

from __future__ import annotations

import json

import pytest

from lb.discovery.handed_over import known_as_json, known_from_json
from lb.discovery.known import Known
from lb.model import ServerSpec
from lb.model.address import Address

PLAIN = ServerSpec("10.0.0.1:80", Address.parse("10.0.0.1:80"))
ODD = ServerSpec("ü/1", Address.parse("unix:x.sock"), 7, backup=True, max_connections=3, check_port=81, drained=True)
OTHER = ServerSpec("[2001:db8::1]:80", Address.parse("[2001:db8::1]:80"), backup=True)
PORTLESS = ServerSpec("[::1]", Address("[::1]", "::1"), check_address="10.9.9.9")
OTHER_CLOCK = 5_000.0


def arrived(known, now=100.0, then=OTHER_CLOCK):
    return known_from_json(json.loads(json.dumps(known_as_json(known, now))), then)


def same(here, there):
    """Return whether two servers are alike, with the parts of their addresses that do not count when compared."""
    return [(each, each.address.host, each.address.port, each.address.path) for each in here] == [
        (each, each.address.host, each.address.port, each.address.path) for each in there
    ]


def test_servers_arrive_with_all_that_they_have():
    known = Known((PLAIN, ODD, PORTLESS), origin="etcd", since=90.0)
    there = arrived(known)
    assert same(there.servers, known.servers)
    assert (there.origin, there.since) == ("etcd", OTHER_CLOCK - 10)


def test_who_drains_as_its_record_has_vanished_drains_no_longer_than_it_would_have():
    known = Known(since=0.0)
    known.take((PLAIN, OTHER), 10.0, "dns", hold=60)
    known.take((PLAIN,), 70.0, "dns", hold=60)
    there = arrived(known)
    assert there.next_end == OTHER_CLOCK + 30
    assert same(there.all_servers, known.all_servers)
    there.end_hold(OTHER_CLOCK + 30)
    assert there.all_servers == (PLAIN,)


def test_those_that_stay_as_all_are_missing_stay_no_longer_than_they_would_have():
    known = Known(since=0.0)
    known.take((PLAIN, ODD), 10.0, "etcd", hold_all=60)
    known.take((), 80.0, "etcd", hold_all=60)
    there = arrived(known)
    there.take((), OTHER_CLOCK + 1, "etcd", hold_all=60)
    assert same(there.servers, known.servers)
    assert there.stay_until == pytest.approx(OTHER_CLOCK + 40)
    there.take((PLAIN,), OTHER_CLOCK + 2, "etcd", hold_all=60)
    assert there.servers == (PLAIN,)


def test_what_another_version_adds_to_a_server_is_passed_over():
    read = known_as_json(Known((PLAIN,), origin="file", since=0.0), 0.0)
    read["servers"][0] |= {"mood": "grumpy"}
    read["servers"][0]["address"] |= {"zone": "a"}
    assert known_from_json(read, 0.0).servers == (PLAIN,)
