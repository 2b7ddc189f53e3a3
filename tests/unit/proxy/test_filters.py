"""Filter chains and server handshakes: order, one deadline for all filters, and every outcome."""

from __future__ import annotations

import math
import socket

import attrs
import pytest
import trio
import trio.testing

from lb.events import Fault
from lb.proxy.filters import FilterChain, FilterFailed
from tests.support.connecting import world_maker


@attrs.define
class FakeStep:
    """A filter that takes some seconds, then raises the given error, if any."""

    reason: str = "denied"
    seconds: float = 0
    failure: Exception | None = None
    heard: int = 0
    due: float = 0
    costly = writing = False
    unread = 0

    def begin(self, connection):
        self.due = trio.current_time() + self.seconds
        return self

    def time_over(self):
        return False

    def proceed(self):
        if trio.current_time() < self.due:
            return False
        if self.failure:
            raise self.failure
        self.heard += 1
        return True


@pytest.fixture
async def greet(nursery):
    """A world with one client and a listener with these filters."""
    make = world_maker(nursery)

    async def greet(*steps, seconds=10, **pool):
        world = make("a", **pool)
        world.listener.admission = FilterChain(steps, world.deadlines.queue("header", seconds))
        world.accept()
        return world

    return greet


async def test_a_connection_that_has_been_heard_gets_a_server(autojump_clock, greet):
    world = await greet(FakeStep(seconds=2), FakeStep("tls_failed", seconds=3))
    assert not world.splicer.connects
    world.assert_leases_are_right()
    await trio.sleep(6)
    await trio.sleep(0.5)
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    assert (world.record.reason, world.record.connect_ms, world.record.duration_ms) == ("eof", 1500.0, 6500.0)


async def test_steps_come_in_order(autojump_clock, greet):
    first, second = FakeStep(seconds=2), FakeStep("tls_failed", seconds=3)
    world = await greet(first, second)
    await trio.sleep(2.5)
    assert (first.heard, second.heard, len(world.splicer.connects)) == (1, 0, 0)
    await trio.sleep(3)
    assert (first.heard, second.heard, len(world.splicer.connects)) == (1, 1, 1)


@pytest.mark.parametrize("by", ["client", "lb"])
async def test_a_step_that_fails_refuses_the_client_with_its_reason(autojump_clock, greet, by):
    last = FakeStep()
    world = await greet(FakeStep(), FakeStep("bad_proxy_header", 1, FilterFailed(by)), last)
    await trio.sleep(2)
    assert (world.record.ended_by, world.record.reason, world.record.server) == (by, "bad_proxy_header", None)
    assert not last.heard
    assert not world.splicer.connects
    assert not world.clients[0].reset


async def test_an_error_of_the_clients_socket_is_the_client_going_away(autojump_clock, greet):
    world = await greet(FakeStep("tls_failed", 1, ConnectionResetError()))
    await trio.sleep(2)
    assert (world.record.ended_by, world.record.reason) == ("client", "tls_failed")


async def test_the_deadline_is_one_for_all_steps_and_has_the_reason_of_the_one_it_meets(autojump_clock, greet):
    world = await greet(FakeStep("bad_proxy_header", 6), FakeStep("tls_failed", math.inf), seconds=10)
    await trio.sleep(11)
    record = world.record
    assert (record.ended_by, record.reason, record.duration_ms) == ("lb", "tls_failed", 10_000.0)


@pytest.mark.parametrize("begun", [False, True])
async def test_closing_the_connection_calls_the_greeting_off(autojump_clock, greet, begun):
    step = FakeStep(seconds=5)
    world = await greet(step)
    if begun:
        await trio.sleep(1)
    world.open[0].close("stopped")
    await trio.sleep(20)
    assert (world.record.ended_by, world.record.reason) == ("lb", "stopped")
    assert world.clients[0].reset
    assert not step.heard


async def test_a_bug_in_a_step_ends_its_connection_only(autojump_clock, greet):
    world = await greet(FakeStep(seconds=1, failure=ZeroDivisionError("bug")))
    world.listener.admission = None
    world.accept()
    await trio.sleep(2)
    (fault,) = [event for event in world.events if isinstance(event, Fault)]
    assert isinstance(fault.exception, ZeroDivisionError)
    assert [(record.id, record.ended_by, record.reason) for record in world.records] == [(1, "lb", "reset")]
    world.splicer.under_way[0].succeed()
    world.splicer.joined[0].end()
    assert [record.reason for record in world.records] == ["reset", "eof"]


async def test_a_greeted_connection_can_be_held(autojump_clock, greet):
    """The filters' deadline no longer applies: the hold ends at its own timeout."""
    world = await greet(FakeStep(seconds=1), when_all_down="hold", hold_timeout=5)
    world.check("a", False)
    await trio.sleep(10)
    assert (world.record.reason, world.record.duration_ms) == ("hold_timeout", 6000.0)


@attrs.define
class FakeHandshake:
    """Records the handshakes that are started."""

    begun: list = attrs.field(factory=list)

    def begin(self, connector, server):
        self.begun.append((connector, server))


@pytest.fixture
async def handshaking(nursery):
    """A world of two servers. The first is connected, and its handshake is not complete."""
    world = world_maker(nursery)("ab")
    frontend = world.listener.mode._frontend
    frontend.route = attrs.evolve(frontend.route, handshake=FakeHandshake())
    world.accept()
    world.splicer.connects[0].owner.connected(socket.socket())
    return world


async def test_a_server_is_joined_once_it_has_heard_us(autojump_clock, handshaking):
    world = handshaking
    assert not world.splicer.joined
    await trio.sleep(1)
    ((connector, server),) = world.listener.mode._frontend.route.handshake.begun
    with server:
        connector.ready(server)
        world.splicer.joined[0].end()
    world.splicer.connects[0].open = False
    assert (world.record.reason, world.record.connect_ms) == ("eof", 1000.0)


async def test_a_server_that_does_not_hear_us_is_a_failed_connect(autojump_clock, handshaking):
    world = handshaking
    ((connector, server),) = world.listener.mode._frontend.route.handshake.begun
    with server:
        connector.handshake_failed(ConnectionResetError(104, "reset"))
        assert not world.splicer.connects[0].open, "a failed handshake closes the socket"
        assert world.pool.backends["a"].failed_connects == 1
        connector.connected(server)
        connector.ready(server)
    world.splicer.connects[1].open = False
    world.splicer.joined[0].end()
    assert [attempt.error for attempt in world.record.attempts] == ["connection reset"]
    assert world.record.server == "b"


async def test_the_connects_deadline_holds_for_the_introduction_too(autojump_clock, handshaking):
    world = handshaking
    await trio.sleep(3.5)
    assert not world.splicer.connects[0].open
    assert len(world.splicer.connects) == 2
    world.listener.mode._frontend.route.handshake.begun[0][1].close()
    world.open[0].close("stopped")
    assert [attempt.error for attempt in world.record.attempts] == ["timed out"]


@pytest.mark.parametrize("late", [False, True])
async def test_what_fails_behind_a_server_does_not_count_against_it(autojump_clock, handshaking, late):
    """It was asked for something that others have. Else three requests for a silent host would eject a parent proxy."""
    world = handshaking
    ((connector, server),) = world.listener.mode._frontend.route.handshake.begun
    with server:
        connector.speaks_for_others = True
        if late:
            await trio.sleep(world.pool.spec.connect_timeout + 0.1)
        else:
            connector.handshake_failed(OSError("the parent answers 503"))
    assert world.pool.backends["a"].failed_connects == 0
    assert connector.attempts[0].error == ("timed out" if late else "the parent answers 503")
    assert world.splicer.connects[1].target != world.splicer.connects[0].target
    assert not connector.speaks_for_others
    world.splicer.connects[1].fail()
    assert world.pool.backends["b"].failed_connects == 1
