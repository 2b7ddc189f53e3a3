"""A connection without an available server: refused, or held until one is available."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from lb.model import PassiveSpec
from tests.support.connecting import REFUSED, target_of, world_maker


@pytest.fixture
async def make_world(nursery):
    return world_maker(nursery)


async def test_none_available_is_no_server_at_once(autojump_clock, make_world):
    world = make_world("ab")
    world.check("a", False)
    world.check("b", False)
    client = world.accept()
    assert (world.record.ended_by, world.record.reason, world.record.server) == ("lb", "no_server", None)
    assert client.closed
    assert not client.reset


async def test_a_held_connection_is_served_when_a_server_comes(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", hold_timeout=5)
    world.check("a", False)
    world.accept()
    world.assert_leases_are_right()
    await trio.sleep(4)
    assert not world.splicer.connects
    world.check("a", True)
    world.splicer.under_way[0].succeed()
    await trio.sleep(100)
    assert not world.records, "the hold's deadline ends with the hold"
    world.splicer.joined[0].end()
    assert (world.record.reason, world.record.server, world.record.duration_ms) == ("eof", "a", 104_000.0)


async def test_a_held_connection_is_served_when_a_lease_comes_back(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", limits={"a": 1})
    world.accept()
    world.splicer.under_way[0].succeed()
    world.accept()
    assert not world.splicer.under_way
    world.splicer.joined[0].end()
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    world.assert_all_is_given_back()
    assert [record.reason for record in world.records] == ["eof", "eof"]


async def test_held_connections_are_served_oldest_first(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", limits={"a": 1})
    for _ in range(4):
        world.accept()
    world.splicer.under_way[0].succeed()
    served = []
    while world.splicer.joined:
        served.append(world.splicer.joined[0].owner.id)
        world.splicer.joined[0].end()
        for connecting in world.splicer.under_way:
            connecting.succeed()
    assert served == [1, 2, 3, 4]
    world.assert_all_is_given_back()


async def test_a_hold_ends_at_its_timeout(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", hold_timeout=5)
    world.check("a", False)
    world.accept()
    await trio.sleep(10)
    assert (world.record.ended_by, world.record.reason, world.record.duration_ms) == ("lb", "hold_timeout", 5000.0)


async def refused_for_a_while_then_served(world):
    """The held connection is served by its first retry after the servers accept again."""
    await trio.sleep(1.25)
    assert not world.records
    world.splicer.failing = {}
    await trio.sleep(0.5)
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()


async def test_a_held_connection_tries_again_servers_that_refuse_but_count_as_up(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", hold_timeout=5, passive=PassiveSpec(failures=0))
    world.splicer.failing = {target_of("a"): REFUSED}
    world.accept()
    await refused_for_a_while_then_served(world)
    assert [attempt.server for attempt in world.record.attempts] == ["a"] * 3


async def test_a_hold_with_servers_that_refuse_ends_at_its_timeout_too(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", hold_timeout=5, passive=PassiveSpec(failures=0))
    world.splicer.failing = {target_of("a"): REFUSED}
    world.accept()
    await trio.sleep(10)
    assert world.record.reason == "hold_timeout"
    assert world.record.duration_ms == 5000.0


async def test_an_attempt_that_the_holds_timeout_meets_may_still_work(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", hold_timeout=5, connect_timeout=3)
    world.check("a", False)
    world.accept()
    await trio.sleep(4)
    world.check("a", True)
    await trio.sleep(2)
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    assert world.record.reason == "eof"


async def test_an_attempt_that_the_holds_timeout_meets_is_the_last_if_it_fails(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", hold_timeout=5, connect_timeout=3)
    world.check("a", False)
    world.accept()
    await trio.sleep(4)
    world.check("a", True)
    await trio.sleep(2)
    world.splicer.under_way[0].fail()
    assert world.record.reason == "hold_timeout"


async def test_a_hold_goes_on_when_the_retries_are_used_up(autojump_clock, make_world):
    """Three refusing servers behave like two, although the retries are used up before all are tried."""
    world = make_world("abcd", when_all_down="hold", hold_timeout=5, passive=PassiveSpec(failures=0))
    world.splicer.failing = {target_of(name): REFUSED for name in "abcd"}
    world.accept()
    await refused_for_a_while_then_served(world)
    assert world.record.reason == "eof"


async def test_the_record_of_a_long_hold_keeps_the_latest_attempts(autojump_clock, make_world):
    world = make_world("ab", when_all_down="hold", hold_timeout=600, passive=PassiveSpec(failures=0))
    world.splicer.failing = {target_of("a"): REFUSED, target_of("b"): REFUSED}
    world.accept()
    await trio.sleep(601)
    assert world.record.reason == "hold_timeout"
    assert len(world.record.attempts) == 20
