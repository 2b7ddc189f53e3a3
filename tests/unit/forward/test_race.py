"""Happy eyeballs: which addresses are tried when, who wins, and that everything is given back."""

from __future__ import annotations

import errno
import socket
from contextlib import contextmanager

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lb.forward import race as module
from lb.forward.race import Race, take_turns
from lb.net.outgoing import Outgoing
from lb.proxy.context import ConnectionContext
from tests.support.balancer import PATIENCE
from tests.support.connecting import REFUSED, World
from tests.support.splicing import open_descriptors, running_splicer

DELAY, TIMEOUT = 0.25, 5.0
A, B, C = ((socket.AF_INET, (f"192.0.2.{number}", 443)) for number in (1, 2, 3))
A6, B6 = ((socket.AF_INET6, (f"2001:db8::{number}", 443)) for number in (1, 2))


class RacingClient:
    def __init__(self):
        self.server = self.target = self.failures = None
        self.ended = trio.Event()

    def won(self, server, target):
        assert not self.ended.is_set()
        self.server, self.target = server, target
        self.ended.set()

    def lost(self, failures):
        assert not self.ended.is_set()
        self.failures = failures
        self.ended.set()

    @property
    def reasons(self):
        return [(target, error.errno) for target, error in self.failures]


class Track:
    """Races on a fake splicer."""

    def __init__(self, world):
        self.world = world
        self.splicer = world.splicer

    def race(self, *targets):
        client = RacingClient()
        queues = (self.world.deadlines.queue("race", DELAY), self.world.deadlines.queue("connect", TIMEOUT))
        client.race = Race(self.world.context, targets, None, client, *queues)
        client.race.start()
        return client

    @property
    def tried(self):
        return [connecting.target for connecting in self.splicer.connects]

    def connecting_to(self, target):
        (found,) = [each for each in self.splicer.connects if each.target == target]
        return found

    def assert_all_is_given_back(self):
        assert self.world.descriptors.used == 0
        assert not self.splicer.under_way
        assert all(len(queue) == 0 for queue in self.world.deadlines._queues.values())


@pytest.fixture
async def track(nursery):
    track = Track(World())
    nursery.start_soon(track.world.deadlines.run)
    yield track
    track.assert_all_is_given_back()


async def test_a_single_address_that_connects_wins(autojump_clock, track):
    client = track.race(A)
    track.connecting_to(A).succeed()
    assert client.target == A
    assert not client.server.closed


async def test_a_silent_address_is_not_waited_for(autojump_clock, track):
    client = track.race(A, B)
    await trio.sleep(DELAY - 0.001)
    assert track.tried == [A]
    await trio.sleep(0.002)
    assert track.tried == [A, B]
    assert track.world.descriptors.used == 1
    track.connecting_to(B).succeed()
    assert client.target == B
    assert not track.connecting_to(A).open


async def test_the_first_address_may_win_after_the_second_was_tried(autojump_clock, track):
    client = track.race(A, B)
    await trio.sleep(2 * DELAY)
    track.connecting_to(A).succeed()
    assert client.target == A
    assert not track.connecting_to(B).open


async def test_a_failure_starts_the_next_at_once_and_the_delay_anew(autojump_clock, track):
    client = track.race(A, B, C)
    await trio.sleep(0.1)
    track.connecting_to(A).fail()
    assert track.tried == [A, B]
    await trio.sleep(DELAY - 0.001)
    assert track.tried == [A, B]
    await trio.sleep(0.002)
    assert track.tried == [A, B, C]
    track.connecting_to(C).succeed()
    assert client.target == C


async def test_an_address_that_fails_at_once_costs_no_time(autojump_clock, track):
    track.splicer.failing = {A6: OSError(errno.ENETUNREACH, "no IPv6")}
    client = track.race(A6, A)
    assert track.tried == [A]
    track.connecting_to(A).succeed()
    assert client.target == A


async def test_all_failures_are_told_in_their_order(autojump_clock, track):
    track.splicer.failing = {B: REFUSED}
    client = track.race(A, B, C)
    await trio.sleep(2 * DELAY)
    track.connecting_to(C).fail(errno.EHOSTUNREACH)
    assert client.failures is None
    track.connecting_to(A).fail(errno.ECONNRESET)
    assert client.reasons == [(B, errno.ECONNREFUSED), (C, errno.EHOSTUNREACH), (A, errno.ECONNRESET)]


async def test_if_all_fail_at_once_it_is_lost_at_once(autojump_clock, track):
    track.splicer.failing = {A: REFUSED, B: REFUSED}
    assert track.race(A, B).reasons == [(A, errno.ECONNREFUSED), (B, errno.ECONNREFUSED)]


async def test_a_race_without_addresses_is_lost(autojump_clock, track):
    assert track.race().failures == ()


async def test_the_time_of_all_together_is_bounded(autojump_clock, track):
    client = track.race(A, B)
    await trio.sleep(1)
    track.connecting_to(B).fail()
    await trio.sleep(TIMEOUT - 1 - 0.001)
    assert client.failures is None
    await trio.sleep(0.002)
    assert client.reasons == [(B, errno.ECONNREFUSED), (A, errno.ETIMEDOUT)]


async def test_at_most_so_many_connects_run_at_the_same_time(autojump_clock, track, monkeypatch):
    monkeypatch.setattr(module, "MOST_AT_ONCE", 2)
    client = track.race(A, B, C)
    await trio.sleep(10 * DELAY)
    assert track.tried == [A, B]
    track.connecting_to(B).fail()
    assert track.tried == [A, B, C]
    track.connecting_to(C).succeed()
    assert client.target == C


async def test_without_descriptors_the_next_address_waits_for_one(autojump_clock, track):
    track.world.descriptors.take(track.world.descriptors.limit)
    client = track.race(A, B)
    await trio.sleep(4.5 * DELAY)
    assert track.tried == [A]
    track.world.descriptors.give(track.world.descriptors.limit)
    await trio.sleep(1.5 * DELAY)
    assert track.tried == [A, B]
    track.connecting_to(B).succeed()
    assert client.target == B


async def test_a_failure_needs_no_descriptor_for_the_next_address(autojump_clock, track):
    track.world.descriptors.take(track.world.descriptors.limit)
    client = track.race(A, B)
    track.connecting_to(A).fail()
    track.connecting_to(B).succeed()
    assert client.target == B
    track.world.descriptors.give(track.world.descriptors.limit)


async def test_a_cancelled_race_tells_nothing(autojump_clock, track):
    client = track.race(A, B, C)
    await trio.sleep(1.5 * DELAY)
    client.race.cancel()
    track.assert_all_is_given_back()
    await trio.sleep(2 * TIMEOUT)
    assert not client.ended.is_set()


async def test_after_a_bug_in_the_owner_the_race_is_lost(autojump_clock, track):
    """The splicer closes the socket, and reports the connect as failed."""
    client = track.race(A, B)
    attempt = track.connecting_to(A)
    client.won = lambda server, target: 1 / 0
    with pytest.raises(ZeroDivisionError):
        attempt.succeed()
    attempt.fail(errno.EIO)
    assert client.reasons == [(A, errno.EIO)]


targets = st.lists(st.sampled_from([A, B, C, A6, B6]))


@given(targets)
def test_taking_turns_loses_nothing_and_begins_with_the_first(given_targets):
    turns = take_turns(given_targets)
    assert sorted(turns) == sorted(set(given_targets))
    assert turns[:1] == given_targets[:1]
    for family in (socket.AF_INET, socket.AF_INET6):
        own = [target for target in turns if target[0] == family]
        assert own == [target for target in dict.fromkeys(given_targets) if target[0] == family]


def test_families_take_turns():
    assert take_turns([A6, B6, A, B, C]) == [A6, A, B6, B, C]
    assert take_turns([A, B, A6]) == [A, A6, B]


# Real sockets


@contextmanager
def listener(host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        sock.listen()
        yield family, sock.getsockname()


@contextmanager
def refusing():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield socket.AF_INET, sock.getsockname()


@contextmanager
def silent():
    """An address that does not answer: a listener whose backlog is full."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(sock.getsockname())
        yield socket.AF_INET, sock.getsockname()
        for each in waiting:
            each.close()


@contextmanager
def real_race(bench, *targets, outgoing=None, timeout=PATIENCE):
    context = ConnectionContext(
        splicer=bench.splicer, descriptors=bench.descriptors, deadlines=bench.deadlines, disconnects=None, sink=print
    )
    client = RacingClient()
    queues = (bench.deadlines.queue("race", 0.02), bench.deadlines.queue("connect", timeout))
    client.race = Race(context, targets, outgoing, client, *queues)
    client.race.start()
    yield client
    if client.server is not None:
        bench.splicer.loop.close(client.server)
    assert bench.descriptors.used == 0


async def ended(client):
    with trio.fail_after(PATIENCE):
        await client.ended.wait()


async def test_a_real_address_wins_behind_a_silent_and_a_refusing_one():
    async with running_splicer() as bench:
        before = open_descriptors()
        with (
            silent() as dead,
            refusing() as closed,
            listener() as server,
            real_race(bench, dead, closed, server) as client,
        ):
            await ended(client)
            assert client.target == server
            assert client.server.getpeername() == server[1]
        await trio.testing.wait_all_tasks_blocked()
        assert open_descriptors() == before


async def test_ipv6_and_ipv4_take_turns_on_real_sockets():
    async with running_splicer() as bench:
        with (
            silent() as dead,
            silent() as other,
            listener("::1") as server,
            real_race(bench, dead, other, server) as client,
        ):
            await ended(client)
            assert client.target == server
            assert client.race._failures == ()


async def test_silent_and_refusing_addresses_alone_lose_in_time():
    async with running_splicer() as bench:
        before = open_descriptors()
        with silent() as dead, refusing() as closed, real_race(bench, closed, dead, timeout=0.2) as client:
            await ended(client)
            assert client.reasons == [(closed, errno.ECONNREFUSED), (dead, errno.ETIMEDOUT)]
        await trio.testing.wait_all_tasks_blocked()
        assert open_descriptors() == before


async def test_connections_come_from_the_source_address():
    async with running_splicer() as bench:
        with listener() as server, real_race(bench, server, outgoing=Outgoing(("127.0.0.9",))) as client:
            await ended(client)
            assert client.server.getsockname()[0] == "127.0.0.9"


async def test_a_source_address_that_is_not_of_this_host_is_told():
    async with running_splicer() as bench:
        with listener() as server, real_race(bench, server, outgoing=Outgoing(("192.0.2.77",))) as client:
            assert "192.0.2.77 is not an address of this host" in str(client.failures[0][1])
