"""Every path of a connection, on a fake splicer without sockets and with a jumping clock."""

from __future__ import annotations

import errno
import math
from collections import Counter

import attrs
import pytest
import trio
import trio.testing

from lb.events import Attempt, BackendEjected, ConnectionClosed
from lb.model import OutlierSpec, PassiveSpec, PoolSpec
from lb.model.address import Client
from lb.net.errors import LOCAL_ERRORS
from lb.pools.outlier_detection import measure
from lb.proxy.context import HOLD_RETRY
from tests.support.connecting import NO_SUCH_SOCKET, REFUSED, target_of, world_maker


@pytest.fixture
async def make_world(nursery):
    return world_maker(nursery)


async def test_the_main_path(autojump_clock, make_world):
    world = make_world()
    world.accept()
    world.assert_leases_are_right()
    await trio.sleep(0.25)
    (connecting,) = world.splicer.under_way
    assert connecting.target == target_of("a")
    connecting.succeed()
    assert world.open[0].server is world.pool.backends["a"]
    await trio.sleep(1)
    (relay,) = world.splicer.joined
    relay.bytes_in, relay.bytes_out = 10, 2000
    relay.end("server", "eof")
    assert world.record == ConnectionClosed(
        id=1,
        listener="front",
        pool="web",
        server="a",
        client=Client("10.1.2.3", 5555),
        attempts=(),
        connect_ms=250.0,
        duration_ms=1250.0,
        bytes_in=10,
        bytes_out=2000,
        ended_by="server",
        reason="eof",
    )


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (("10.1.2.3", 5555), "10.1.2.3:5555"),
        (("::ffff:10.1.2.3", 5555, 0, 0), "10.1.2.3:5555"),
        (("::1", 5555, 0, 0), "[::1]:5555"),
        ("", "unix:"),
    ],
)
async def test_the_client_is_named_as_the_contract_says(autojump_clock, make_world, peer, client):
    world = make_world()
    world.accept(peer)
    world.splicer.under_way[0].fail()
    world.splicer.under_way[0].fail()
    assert str(world.record.client) == client


@pytest.mark.parametrize(("ended_by", "reason"), [("client", "eof"), ("server", "reset"), ("lb", "reset")])
async def test_the_record_says_what_the_splicer_said(autojump_clock, make_world, ended_by, reason):
    world = make_world()
    world.accept()
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end(ended_by, reason)
    assert (world.record.ended_by, world.record.reason) == (ended_by, reason)


async def test_a_failed_connect_is_tried_elsewhere(autojump_clock, make_world):
    """A known defect of gobetween: it closed the client."""
    world = make_world("abc")
    world.accept()
    await trio.sleep(0.5)
    world.splicer.under_way[0].fail()
    assert world.pool.backends["a"].active == 0, "a failed attempt holds no lease"
    await trio.sleep(0.25)
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    record = world.record
    assert record.server == "b"
    assert record.attempts == (Attempt("a", "connection refused", 500.0),)
    assert (record.connect_ms, record.duration_ms) == (250.0, 750.0)


async def test_a_retry_never_goes_to_a_server_that_was_tried(autojump_clock, make_world):
    world = make_world("abcd", retries=10)
    for _ in range(3):
        world.accept()
        tried = []
        while world.splicer.under_way:
            tried.append(world.splicer.under_way[0].target)
            world.splicer.under_way[0].fail(errno.EADDRNOTAVAIL)
        assert sorted(tried) == [target_of(name) for name in "abcd"]
    assert {record.reason for record in world.records} == {"connect_failed"}
    world.assert_all_is_given_back()


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_the_retries_are_counted(autojump_clock, make_world, retries):
    world = make_world("abcdef", retries=retries)
    world.accept()
    while world.splicer.under_way:
        world.splicer.under_way[0].fail()
    assert len(world.record.attempts) == retries + 1
    assert (world.record.ended_by, world.record.reason) == ("lb", "connect_failed")
    assert (world.record.server, world.record.connect_ms) == (None, None)


@pytest.mark.parametrize("when_all_down", ["reject", "any"])
async def test_more_retries_than_servers_is_a_failed_connect_and_not_a_lack_of_servers(
    autojump_clock, make_world, when_all_down
):
    """It was logged as no_server, which means that no server could be tried."""
    world = make_world("a", retries=2, when_all_down=when_all_down)
    world.accept()
    world.splicer.under_way[0].fail()
    assert world.record.reason == "connect_failed"
    assert [attempt.server for attempt in world.record.attempts] == ["a"]


async def test_an_error_at_once_is_a_failed_attempt_like_any_other(autojump_clock, make_world):
    world = make_world("ab")
    world.splicer.failing = {target_of("a"): NO_SUCH_SOCKET}
    world.accept()
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    assert world.record.attempts == (Attempt("a", "no such socket", 0.0),)
    assert world.record.server == "b"
    assert world.pool.backends["a"].failed_connects == 1


async def test_errors_at_once_from_all_servers_end_it(autojump_clock, make_world):
    world = make_world("ab")
    world.splicer.failing = {target_of(name): REFUSED for name in "ab"}
    client = world.accept()
    assert world.record.reason == "connect_failed"
    assert [attempt.server for attempt in world.record.attempts] == ["a", "b"]
    assert client.closed


async def test_a_name_that_could_not_be_looked_up_is_a_failed_attempt(autojump_clock, make_world):
    world = make_world("ab")
    world.pool.backends["a"].targets = ()
    world.accept()
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    assert world.record.attempts == (Attempt("a", "cannot look up a", 0.0),)


async def test_a_server_that_loses_its_addresses_while_one_is_tried_is_a_failed_attempt(autojump_clock, make_world):
    """A reload to a name that does not resolve, during an attempt with several addresses."""
    world = make_world("ab")
    world.pool.backends["a"].targets = (target_of("a"), target_of("a2"))
    world.accept()
    world.pool.backends["a"].targets = ()
    world.splicer.under_way[0].fail()
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    assert world.record.server == "b"


async def test_a_connect_that_takes_too_long_is_tried_elsewhere(autojump_clock, make_world):
    world = make_world("ab", connect_timeout=3)
    world.accept()
    first = world.splicer.under_way[0]
    await trio.sleep(2.9)
    assert first.open
    await trio.sleep(0.2)
    assert not first.open, "cancelled"
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    assert world.record.attempts == (Attempt("a", "timed out", 3000.0),)
    assert world.pool.backends["a"].failed_connects == 1


async def test_leases_count_from_the_pick(autojump_clock, make_world):
    """A known defect of gobetween: it counts from the connect, so a burst goes to one server."""
    world = make_world("ab", strategy=attrs.evolve(PoolSpec("x").strategy, name="least-conn"))
    for _ in range(4):
        world.accept()
    assert Counter(connecting.target for connecting in world.splicer.under_way) == {
        target_of("a"): 2,
        target_of("b"): 2,
    }
    for connecting in world.splicer.under_way:
        connecting.succeed()
    for relay in world.splicer.joined:
        relay.end()
    world.assert_all_is_given_back()


async def test_failures_with_successes_between_do_not_eject(autojump_clock, make_world):
    """A known defect of gobetween: no success resets the failure count, so healthy servers are ejected."""
    world = make_world("a", passive=PassiveSpec(failures=3))
    for _ in range(10):
        for _ in range(2):
            world.accept()
            world.splicer.under_way[0].fail()
        world.accept()
        world.splicer.under_way[0].succeed()
        world.splicer.joined[0].end()
    assert not [event for event in world.events if isinstance(event, BackendEjected)]
    world.assert_all_is_given_back()


async def test_failures_in_a_row_eject_at_once(autojump_clock, make_world):
    world = make_world("ab", passive=PassiveSpec(failures=3))
    for _ in range(6):
        world.accept()
        if world.splicer.under_way[0].target == target_of("a"):
            world.splicer.under_way[0].fail()
        world.splicer.under_way[0].succeed()
        world.splicer.joined[0].end()
    (ejection,) = [event for event in world.events if isinstance(event, BackendEjected)]
    assert ejection == BackendEjected("web", "a", "connection refused", "passive")
    world.accept()
    assert world.splicer.under_way[0].target == target_of("b")
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    world.assert_all_is_given_back()


async def test_how_long_a_server_takes_is_measured_if_that_is_wanted(autojump_clock, make_world):
    world = make_world("ab")
    measure([world.pool.backends["a"]], OutlierSpec())
    timing = world.pool.backends["a"].timing
    for _ in "ab":
        world.accept()
        await trio.sleep(0.25)
        world.splicer.under_way[0].succeed()
    first_bytes = [relay.first_byte for relay in world.splicer.joined]
    assert first_bytes == [timing.first_byte, None]
    assert timing.connect.total == 1
    assert timing.connect.median == pytest.approx(0.25, rel=0.02)


@pytest.mark.parametrize("number", sorted(LOCAL_ERRORS))
async def test_what_is_this_hosts_fault_ejects_nobody(autojump_clock, make_world, number):
    world = make_world("ab", passive=PassiveSpec(failures=1))
    world.accept()
    world.splicer.under_way[0].fail(number)
    world.splicer.under_way[0].fail(number)
    assert not [event for event in world.events if isinstance(event, BackendEjected)]
    assert world.pool.backends["a"].failed_connects == 0
    assert len(world.record.attempts) == 2


# End


async def test_an_idle_connection_ends(autojump_clock, make_world):
    world = make_world(listener={"idle_timeout": 10})
    world.accept()
    world.splicer.under_way[0].succeed()
    await trio.sleep(20)
    assert (world.record.ended_by, world.record.reason) == ("lb", "idle_timeout")
    assert world.record.duration_ms == 10_000.0


async def test_a_half_closed_connection_ends_at_its_own_timeout(autojump_clock, make_world):
    world = make_world(listener={"idle_timeout": 1000, "half_close_timeout": 10})
    world.accept()
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].finish_first()
    await trio.sleep(20)
    assert (world.record.reason, world.record.duration_ms) == ("half_close_timeout", 10_000.0)


async def test_without_timeouts_a_connection_lives_for_ever(autojump_clock, make_world):
    world = make_world(listener={"idle_timeout": math.inf, "half_close_timeout": math.inf})
    world.accept()
    world.splicer.under_way[0].succeed()
    autojump_clock.jump(1_000_000)
    await trio.sleep(5)  # the deadlines are looked at again
    assert not world.records
    world.splicer.joined[0].end()
    world.assert_all_is_given_back()


async def test_a_listener_without_limits_does_not_wake_the_process_to_look_at_them(autojump_clock, make_world):
    """An idle balancer woke fifty times a second, for bandwidth limits that nobody had set."""
    assert min(timeout for _, timeout in make_world().deadlines._queues) >= HOLD_RETRY


@pytest.mark.parametrize("reason", ["stopped", "server_down", "server_removed"])
@pytest.mark.parametrize("state", ["connecting", "joined", "held", "finished"])
async def test_it_can_be_closed_in_any_state(autojump_clock, make_world, state, reason):
    world = make_world("a", when_all_down="hold")
    if state == "held":
        world.check("a", False)
    client = world.accept()
    connection = world.open[0]
    if state in ("joined", "finished"):
        world.splicer.under_way[0].succeed()
    if state == "finished":
        world.splicer.joined[0].end()
        connection.close(reason)
        assert world.record.reason == "eof"
        return
    connection.close(reason)
    connection.close(reason)
    assert (world.record.ended_by, world.record.reason) == ("lb", reason)
    assert world.record.server == (None if state == "held" else "a")
    if state == "joined":
        assert world.splicer.relays[0].closed == "reset"
    else:
        assert client.reset, "a truncated stream must not look complete"
    await trio.sleep(100)
    world.assert_all_is_given_back()


async def test_a_connection_outlives_the_removal_of_its_server(autojump_clock, make_world):
    world = make_world("ab")
    world.accept()
    world.splicer.under_way[0].succeed()
    (left,) = world.reload("b")
    assert left.leaving
    world.assert_leases_are_right()
    world.splicer.joined[0].end()
    assert world.record.server == "a"


async def test_a_connect_under_way_outlives_the_removal_of_its_server(autojump_clock, make_world):
    world = make_world("ab")
    world.accept()
    world.reload("b")
    world.splicer.under_way[0].fail()
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    assert (world.record.server, world.record.attempts[0].server) == ("b", "a")
