"""A connection whose servers are full: it waits in the pool's queue, or is refused."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from lb.model import PassiveSpec
from tests.support.connecting import REFUSED, target_of, world_maker


@pytest.fixture
async def make_world(nursery):
    return world_maker(nursery)


def reasons(world):
    return [record.reason for record in world.records]


def succeed_all(world):
    for connecting in world.splicer.under_way:
        connecting.succeed()


def serve_all(world):
    """End one connection after the other. Return the served clients in order."""
    served = []
    succeed_all(world)
    while world.splicer.joined:
        served.append(world.splicer.joined[0].owner.id)
        world.splicer.joined[0].end()
        succeed_all(world)
    return served


async def test_who_finds_all_servers_full_is_served_in_the_order_of_arrival(autojump_clock, make_world):
    world = make_world("ab", queue=10, limits={"a": 1, "b": 1})
    for _ in range(6):
        world.accept()
    assert [connecting.owner.owner.id for connecting in world.splicer.under_way] == [1, 2]
    world.assert_leases_are_right()
    assert serve_all(world) == [1, 2, 3, 4, 5, 6]
    world.assert_all_is_given_back()
    assert reasons(world) == ["eof"] * 6


async def test_without_a_queue_a_full_pool_turns_clients_away(autojump_clock, make_world):
    world = make_world("a", limits={"a": 1})
    world.accept()
    world.accept()
    assert reasons(world) == ["no_server"]


async def test_the_queue_holds_so_many_and_no_more(autojump_clock, make_world):
    world = make_world("a", queue=2, limits={"a": 1})
    for _ in range(5):
        world.accept()
    assert [(record.id, record.reason) for record in world.records] == [(4, "no_server"), (5, "no_server")]
    succeed_all(world)
    world.splicer.joined[0].end()
    world.accept()
    assert len(world.records) == 3, "a slot in the queue is free again"
    assert serve_all(world) == [2, 3, 6]


async def test_waiting_ends_at_the_queues_timeout(autojump_clock, make_world):
    world = make_world("a", queue=2, queue_timeout=3, limits={"a": 1})
    world.accept()
    succeed_all(world)
    world.accept()
    await trio.sleep(10)
    assert [(record.id, record.reason, record.duration_ms) for record in world.records] == [(2, "hold_timeout", 3000.0)]
    assert serve_all(world) == [1]
    world.assert_all_is_given_back()


async def test_the_timeout_is_over_with_the_wait(autojump_clock, make_world):
    world = make_world("a", queue=2, queue_timeout=3, limits={"a": 1})
    world.accept()
    succeed_all(world)
    world.accept()
    await trio.sleep(2)
    world.splicer.joined[0].end()
    succeed_all(world)
    await trio.sleep(10)
    assert serve_all(world) == [2]
    assert reasons(world) == ["eof", "eof"]


async def test_a_queue_is_for_full_servers_not_for_those_that_are_down(autojump_clock, make_world):
    world = make_world("ab", queue=10, limits={"a": 1})
    world.check("a", False)
    world.check("b", False)
    world.accept()
    assert reasons(world) == ["no_server"]


async def test_who_waits_is_served_by_a_server_that_comes_up(autojump_clock, make_world):
    world = make_world("ab", queue=10, limits={"a": 1})
    world.check("b", False)
    world.accept()
    world.accept()
    world.check("b", True)
    assert [connecting.target for connecting in world.splicer.under_way] == [target_of("a"), target_of("b")]


async def test_who_waits_goes_on_waiting_when_the_servers_go_down(autojump_clock, make_world):
    world = make_world("a", queue=10, queue_timeout=3, limits={"a": 1})
    world.accept()
    succeed_all(world)
    world.accept()
    world.check("a", False)
    world.splicer.joined[0].end()
    await trio.sleep(1)
    assert reasons(world) == ["eof"]
    world.check("a", True)
    assert serve_all(world) == [2]


@pytest.mark.parametrize("limit", [2, 0])
async def test_a_reload_that_raises_the_limit_lets_them_in(autojump_clock, make_world, limit):
    world = make_world("a", queue=10, limits={"a": 1})
    for _ in range(3):
        world.accept()
    world.reload("a", queue=10, limits={"a": limit})
    assert [connecting.owner.owner.id for connecting in world.splicer.under_way] == [1, 2, 3][: limit or 3]


async def test_a_reload_that_takes_the_queue_away_lets_nobody_else_wait(autojump_clock, make_world):
    world = make_world("a", queue=10, limits={"a": 1})
    world.accept()
    world.accept()
    world.reload("a", limits={"a": 1})
    world.accept()
    assert [(record.id, record.reason) for record in world.records] == [(3, "no_server")]
    assert serve_all(world) == [1, 2]


@pytest.mark.parametrize("policy", ["reject", "any", "hold"])
async def test_a_pool_that_leaves_the_configuration_keeps_nobody_waiting(autojump_clock, make_world, policy):
    world = make_world("a", queue=2, when_all_down=policy, limits={"a": 1})
    for _ in range(4 if policy == "hold" else 3):
        world.accept()
    succeed_all(world)
    world.pool.empty(trio.current_time())
    assert set(reasons(world)) == {"no_server"}
    world.splicer.joined[0].end()
    world.assert_all_is_given_back()


async def test_who_waits_goes_to_the_servers_that_a_reload_brings(autojump_clock, make_world):
    world = make_world("a", queue=2, limits={"a": 1})
    world.accept()
    world.accept()
    world.reload("b", queue=2)
    assert [connecting.target for connecting in world.splicer.under_way] == [target_of("a"), target_of("b")]


async def test_who_was_refused_waits_for_the_full_server_and_does_not_go_back(autojump_clock, make_world):
    """Not even while the refusing server counts as up and has a free slot. Connections behind it do not wait for it."""
    world = make_world("ab", queue=10, limits={"a": 1, "b": 1}, passive=PassiveSpec(failures=0))
    world.accept()
    world.accept()
    first, second = world.splicer.under_way
    world.accept()
    first.fail()  # it has tried "a" and waits behind the third connection, which gets "a"
    assert [(connecting.owner.owner.id, connecting.target) for connecting in world.splicer.under_way] == [
        (2, target_of("b")),
        (3, target_of("a")),
    ]
    world.splicer.under_way[1].fail()
    assert world.splicer.under_way == [second], "both wait for b alone"
    assert serve_all(world) == [2, 1, 3]
    assert [[attempt.server for attempt in record.attempts] for record in world.records] == [[], ["a"], ["a"]]


async def test_the_retries_of_a_connection_that_waited_are_not_more(autojump_clock, make_world):
    world = make_world("abc", queue=10, retries=1, limits={"c": 1}, passive=PassiveSpec(failures=0))
    world.splicer.failing = {target_of("a"): REFUSED, target_of("b"): REFUSED}
    world.accept()  # a and b refuse, and that was the last retry
    assert reasons(world) == ["connect_failed"]
    assert [attempt.server for attempt in world.records[0].attempts] == ["a", "b"]


async def test_under_any_the_queue_comes_before_servers_that_are_down(autojump_clock, make_world):
    world = make_world("ab", queue=1, when_all_down="any", limits={"a": 1})
    world.check("b", False)
    for _ in range(3):
        world.accept()
    assert [(connecting.owner.owner.id, connecting.target) for connecting in world.splicer.under_way] == [
        (1, target_of("a")),
        (3, target_of("b")),
    ]


async def test_under_hold_who_finds_the_queue_full_is_held(autojump_clock, make_world):
    world = make_world("a", queue=1, queue_timeout=2, when_all_down="hold", hold_timeout=4, limits={"a": 1})
    for _ in range(3):
        world.accept()
    succeed_all(world)
    await trio.sleep(10)
    assert [(record.id, record.reason, record.duration_ms) for record in world.records] == [
        (2, "hold_timeout", 2000.0),
        (3, "hold_timeout", 4000.0),
    ]


@pytest.mark.parametrize("reason", ["eof", "reset"])
async def test_a_client_that_leaves_makes_room_in_the_queue(autojump_clock, make_world, reason):
    world = make_world("a", queue=2, limits={"a": 1})
    world.accept()
    second = world.accept()
    world.accept()
    world.disconnects.leave(second, reason)
    (record,) = world.records
    assert (record.id, record.ended_by, record.reason, record.server) == (2, "client", reason, None)
    assert second.closed == 1
    world.accept()
    assert serve_all(world) == [1, 3, 4]
    world.assert_all_is_given_back()


async def test_a_client_that_is_held_may_leave_as_well(autojump_clock, make_world):
    world = make_world("a", when_all_down="hold", hold_timeout=10)
    world.check("a", False)
    client = world.accept()
    await trio.sleep(1)
    world.disconnects.leave(client)
    assert world.record.ended_by == "client"


async def test_a_client_is_watched_only_while_it_waits(autojump_clock, make_world):
    world = make_world("a", queue=2, limits={"a": 1})
    first = world.accept()
    second = world.accept()
    assert list(world.disconnects.watched) == [second]
    succeed_all(world)
    world.splicer.joined[0].end()
    assert not world.disconnects.watched
    assert serve_all(world) == [2]
    assert (first.closed, second.closed) == (1, 1)


async def test_a_connection_that_waits_is_closed_by_a_stop(autojump_clock, make_world):
    world = make_world("a", queue=1, limits={"a": 1})
    world.accept()
    client = world.accept()
    world.open[1].close("stopped")
    assert (client.closed, client.reset) == (1, True)
    assert reasons(world) == ["stopped"]
    assert serve_all(world) == [1]
    world.assert_all_is_given_back()
