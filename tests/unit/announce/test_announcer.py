"""The announced addresses of a balancer, on a kernel of the test."""

from __future__ import annotations

import errno
import os
from ipaddress import ip_interface

import pytest
import trio
import trio.testing

from lb.announce import announcer, standing
from lb.announce.announcer import Announcer
from lb.config.load import parse
from lb.control.readiness import Readiness
from lb.events import AnnounceChanged, AnnounceDown, AnnounceFailed, AnnounceUp
from tests.support.pooling import Harness, server

ONE, TWO = "203.0.113.5/32", "2001:db8::5/128"


def spec(*addresses, rise="1s"):
    text = f"announce = {{ addresses = {list(addresses)}, interface = 'lo', rise = '{rise}' }}\n"
    return parse(f"{text}listeners.web = {{ bind = ':80', servers = ['10.0.0.1:80'] }}", "lb.toml").announce


class Kernel:
    """What stands, and an error for the next calls."""

    def __init__(self, monkeypatch):
        self.addresses, self.routes = set(), set()
        self.error = None
        monkeypatch.setattr(standing, "add_address", lambda address, _: self._do(self.addresses.add, address))
        monkeypatch.setattr(standing, "remove_address", self._remove)
        monkeypatch.setattr(standing, "add_local_route", lambda address: self._do(self.routes.add, address))
        monkeypatch.setattr(standing, "remove_local_route", lambda address: self._do(self.routes.discard, address))
        monkeypatch.setattr(standing, "check_rights", lambda _: None)
        monkeypatch.setattr(standing, "addresses_on", lambda _: {ip_interface(each) for each in self.addresses})
        monkeypatch.setattr(announcer, "AddressWatch", lambda: self)
        self._change = trio.Event()

    def somebody(self, *, sets=(), removes=()):
        """Let somebody else change addresses."""
        self.addresses = (self.addresses | {*sets}) - {*removes}
        self._change.set()

    async def changed(self, watched):
        """Stand for :meth:`lb.announce.address_watch.AddressWatch.changed`."""
        await self._change.wait()
        self._change = trio.Event()

    def close(self):
        """Likewise."""

    def _do(self, change, address):
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        change(str(address))

    def _remove(self, address, _):
        stood = str(address) in self.addresses
        self._do(self.addresses.discard, address)
        return stood


@pytest.fixture
def kernel(monkeypatch):
    async def at_once(_, function, *args):
        await trio.lowlevel.checkpoint()
        function(*args)

    monkeypatch.setattr(Announcer, "_in_thread", at_once)
    return Kernel(monkeypatch)


class World:
    """A balancer with one pool of one server, its announcer, and the events."""

    def __init__(self, announce):
        self.pool = Harness(server("a"))
        self.readiness = Readiness()
        self.shown_pools = {"web": self.pool.pool}
        self.events = []
        self.announcer = Announcer(announce)
        self.announcer.watch(self, self.events.append)

    def check(self, passed, times=3):
        self.pool.check("a", passed, times)
        self.readiness.changed()


async def test_they_stand_after_the_rise_and_go_at_once(kernel, nursery, autojump_clock):
    world = World(spec(ONE, TWO))
    world.announcer.begin(beside_predecessor=False)
    nursery.start_soon(world.announcer.run)
    await trio.sleep(5)
    assert (kernel.addresses, kernel.routes) == (set(), {ONE, TWO})
    world.check(True)
    await trio.sleep(0.9)
    assert not world.announcer.up
    await trio.sleep(0.2)
    assert world.announcer.up
    assert kernel.addresses == {ONE, TWO}
    assert world.announcer.standing == {ONE: True, TWO: True}
    world.check(False)
    await trio.testing.wait_all_tasks_blocked()
    assert world.events == [AnnounceUp((ONE, TWO), "lo"), AnnounceDown((ONE, TWO), "lo", "not ready: web")]
    world.announcer.close()
    assert (kernel.addresses, kernel.routes) == (set(), set())


async def test_what_the_kernel_refuses_is_tried_again_and_told_once(kernel, nursery, autojump_clock):
    world = World(spec(ONE, rise="0"))
    world.announcer.begin(beside_predecessor=False)
    nursery.start_soon(world.announcer.run)
    kernel.error = errno.ENOBUFS
    world.check(True)
    await trio.sleep(3.5)
    assert world.events == [AnnounceFailed((ONE,), "lo", "no buffer space available")]
    kernel.error = None
    await trio.sleep(1)
    assert world.events[1:] == [AnnounceUp((ONE,), "lo")]


async def turns_in_an_hour(world, monkeypatch):
    """Return how often the announcer judges in an hour; some times more, and it would never sleep."""
    judged = []
    judge = world.announcer._judge

    async def counted():
        judged.append(trio.current_time())
        assert len(judged) < 10
        await judge()

    monkeypatch.setattr(world.announcer, "_judge", counted)
    await trio.sleep(3600)
    return len(judged)


@pytest.mark.parametrize("end", [Announcer.leave, Announcer.hand_over])
async def test_a_process_that_ends_within_the_rise_sleeps(kernel, nursery, autojump_clock, monkeypatch, end):
    world = World(spec(ONE))
    world.announcer.begin(beside_predecessor=False)
    nursery.start_soon(world.announcer.run)
    world.check(True)
    await trio.sleep(0.5)
    await end(world.announcer)
    assert await turns_in_an_hour(world, monkeypatch) <= 1
    assert kernel.addresses == set()


async def test_what_the_kernel_refuses_to_remove_at_a_stop_is_tried_again(kernel, nursery, autojump_clock, monkeypatch):
    world = World(spec(ONE, rise="0"))
    world.announcer.begin(beside_predecessor=False)
    nursery.start_soon(world.announcer.run)
    world.check(True)
    await trio.sleep(1)
    kernel.error = errno.ENOBUFS
    await world.announcer.leave()
    kernel.error = None
    world.readiness.changed()
    assert await turns_in_an_hour(world, monkeypatch) <= 2
    assert kernel.addresses == set()
    assert world.events[-1] == AnnounceDown((ONE,), "lo", "stopping")


def test_what_the_kernel_refuses_at_the_start_is_one_line(kernel):
    announcer = Announcer(spec(ONE, TWO))
    kernel.error = errno.EACCES
    with pytest.raises(standing.AnnounceError, match=f"announce: cannot prepare {ONE}, {TWO}: permission denied"):
        announcer.begin(beside_predecessor=False)
    kernel.error = None
    announcer.close()
    assert kernel.routes == set()


async def test_at_the_end_one_that_cannot_be_removed_keeps_no_other(kernel, nursery, autojump_clock, monkeypatch):
    world = World(spec(ONE, TWO, rise="0"))
    world.announcer.begin(beside_predecessor=False)
    nursery.start_soon(world.announcer.run)
    world.check(True)
    await trio.sleep(1)
    remove = standing.remove_address

    def refused(address, index):
        if str(address) == ONE:
            raise OSError(errno.ENOBUFS, "no buffer space available")
        return remove(address, index)

    monkeypatch.setattr(standing, "remove_address", refused)
    with pytest.raises(OSError, match="no buffer space available"):
        world.announcer.close()
    assert (kernel.addresses, kernel.routes) == ({ONE}, set())


async def test_beside_a_predecessor_nothing_is_touched_before_it_has_left(kernel, nursery, autojump_clock):
    kernel.addresses, kernel.routes = {ONE}, {ONE}
    world = World(spec(TWO, rise="0"))
    world.announcer.begin(beside_predecessor=True)
    await world.announcer.leave()
    world.announcer.close()
    assert (kernel.addresses, kernel.routes) == ({ONE}, {ONE})


async def test_a_successor_takes_over_what_stands(kernel, nursery, autojump_clock):
    old, new = World(spec(ONE, rise="0")), World(spec(ONE, TWO, rise="1h"))
    old.announcer.begin(beside_predecessor=False)
    nursery.start_soon(old.announcer.run)
    old.check(True)
    await trio.testing.wait_all_tasks_blocked()
    new.announcer.begin(beside_predecessor=True)
    await new.announcer.take_over(await old.announcer.hand_over())
    old.check(False)
    old.announcer.close()
    assert kernel.addresses == {ONE}
    nursery.start_soon(new.announcer.run)
    await trio.testing.wait_all_tasks_blocked()
    assert new.events == [AnnounceUp((TWO,), "lo")], "it goes on, without checks of its own"
    await new.announcer.leave()
    assert (kernel.addresses, kernel.routes) == (set(), {ONE, TWO})
    new.announcer.close()
    assert kernel.routes == set()


async def test_a_successor_that_is_told_to_stop_before_it_owns_them(kernel, autojump_clock):
    kernel.addresses, kernel.routes = {ONE}, {ONE}
    world = World(spec(ONE))
    world.announcer.begin(beside_predecessor=True)
    await world.announcer.leave()
    await world.announcer.take_over({"places": [["lo", ONE]], "routes": [ONE]})
    assert world.events == [AnnounceDown((ONE,), "lo", "stopping")]
    assert kernel.addresses == set()


async def test_a_predecessor_of_a_version_that_announces_nothing(kernel, nursery, autojump_clock):
    kernel.addresses = {ONE}  # of a process that was killed
    world = World(spec(ONE))
    world.announcer.begin(beside_predecessor=True)
    await world.announcer.take_over({})
    assert (kernel.addresses, kernel.routes) == (set(), {ONE})


async def test_a_table_that_a_reload_adds_and_removes(kernel, nursery, autojump_clock):
    world = World(None)
    world.announcer.begin(beside_predecessor=False)
    nursery.start_soon(world.announcer.run)
    world.check(True)
    await trio.sleep(5)
    await world.announcer.follow(spec(ONE))
    await trio.sleep(0.5)
    assert kernel.addresses == set(), "the rise begins with the table"
    await trio.sleep(1)
    assert kernel.addresses == {ONE}
    await world.announcer.follow(None)
    assert world.events == [AnnounceUp((ONE,), "lo"), AnnounceDown((ONE,), "lo", "removed")]
    assert kernel.routes == {ONE}, "open connections go on"
    assert not world.announcer.up


async def up(world, nursery):
    """Let the addresses stand, without a word so far."""
    world.announcer.begin(beside_predecessor=False)
    nursery.start_soon(world.announcer.run)
    world.check(True)
    await trio.sleep(10)
    world.events.clear()


async def test_what_somebody_else_removes_is_set_again(kernel, nursery, autojump_clock):
    world = World(spec(ONE, TWO))
    await up(world, nursery)
    kernel.somebody(removes=[TWO])
    await trio.testing.wait_all_tasks_blocked()
    assert world.events == [AnnounceChanged((TWO,), "lo", "removed", 0.1)]
    assert not world.announcer.up
    await trio.sleep(0.2)
    assert world.events[1:] == [AnnounceUp((TWO,), "lo")]
    assert (kernel.addresses, world.announcer.up) == ({ONE, TWO}, True)


async def test_several_removed_one_after_another_are_all_set_again_at_once(kernel, nursery, autojump_clock):
    world = World(spec(ONE, TWO))
    await up(world, nursery)
    for address in (ONE, TWO):
        kernel.somebody(removes=[address])
        await trio.sleep(0.05)
    await trio.sleep(0.2)
    assert kernel.addresses == {ONE, TWO}


async def test_who_removes_it_again_and_again_is_told_twice_and_fought_slower_and_slower(
    kernel, nursery, autojump_clock
):
    world = World(spec(ONE))
    await up(world, nursery)
    set_again = []
    for _ in range(100):
        removed = trio.current_time()
        kernel.somebody(removes=[ONE])
        with trio.fail_after(61):
            while ONE not in kernel.addresses:  # noqa: ASYNC110 - the clock jumps
                await trio.sleep(0.05)
        set_again.append(trio.current_time() - removed)
    assert set_again[:4] == pytest.approx([0.1, 1, 2, 4], abs=0.2)
    assert set_again[10:] == pytest.approx([60] * 90, abs=0.2)
    changed = [AnnounceChanged((ONE,), "lo", "removed", seconds) for seconds in (0.1, 1.0)]
    assert world.events == [changed[0], AnnounceUp((ONE,), "lo"), changed[1]]
    await trio.sleep(299)
    assert len(world.events) == 3
    await trio.sleep(2)
    assert world.events[3:] == [AnnounceUp((ONE,), "lo")], "there is calm"
    kernel.somebody(removes=[ONE])
    await trio.sleep(0.2)
    assert world.events[4:] == world.events[:2], "that is a new one"


async def test_what_somebody_else_sets_while_it_should_not_stand_goes(kernel, nursery, autojump_clock):
    world = World(spec(ONE))
    await up(world, nursery)
    world.check(False)
    await trio.sleep(1)
    kernel.somebody(sets=[ONE])
    await trio.sleep(0.2)
    assert kernel.addresses == set()
    down = AnnounceDown((ONE,), "lo", "not ready: web")
    assert world.events == [down, AnnounceChanged((ONE,), "lo", "set", 0.1), down]


async def test_what_is_set_again_by_somebody_else_goes_at_once_when_the_balancer_cannot_serve(
    kernel, nursery, autojump_clock
):
    world = World(spec(ONE))
    await up(world, nursery)
    for _ in range(8):
        kernel.somebody(removes=[ONE])
        await trio.sleep(0.05)
        kernel.somebody(sets=[ONE])
        await trio.sleep(0.05)
    world.check(False)
    await trio.testing.wait_all_tasks_blocked()
    assert kernel.addresses == set()


async def test_at_a_stop_nothing_is_waited_for_and_nothing_left(kernel, nursery, autojump_clock):
    world = World(spec(ONE, TWO))
    await up(world, nursery)
    kernel.somebody(removes=[ONE])
    await trio.sleep(0.05)
    await world.announcer.leave()
    assert kernel.addresses == set()
    kernel.somebody(sets=[ONE])
    world.announcer.close()
    assert kernel.addresses == set()


async def test_an_interface_that_goes_and_comes_back_has_them_again(kernel, nursery, autojump_clock):
    world = World(spec(ONE))
    await up(world, nursery)
    kernel.error = errno.ENODEV
    kernel.somebody(removes=[ONE])
    await trio.sleep(10)
    assert {event.name for event in world.events} == {"announce.changed", "announce.failed"}
    kernel.error = None
    kernel.somebody()
    await trio.sleep(1)
    assert kernel.addresses == {ONE}
    assert world.events[2:] == [AnnounceUp((ONE,), "lo")]


async def test_a_table_that_a_reload_adds_removes_what_a_killed_process_has_left(kernel, nursery, autojump_clock):
    world = World(None)
    await up(world, nursery)
    kernel.addresses = {ONE}
    await world.announcer.check(spec(ONE))
    await world.announcer.follow(spec(ONE))
    assert kernel.addresses == set(), "it has not stood for the rise yet"
    await trio.sleep(2)
    assert world.events == [AnnounceDown((ONE,), "lo", "not ready"), AnnounceUp((ONE,), "lo")]


async def test_an_address_that_a_reload_adds_takes_over_what_a_killed_process_has_left(kernel, nursery, autojump_clock):
    world = World(spec(ONE))
    await up(world, nursery)
    kernel.addresses |= {TWO}
    await world.announcer.follow(spec(ONE, TWO))
    await trio.sleep(1)
    assert world.events == [AnnounceUp((TWO,), "lo")]
    world.announcer.close()
    assert kernel.addresses == set()


async def test_a_successor_sets_again_what_was_removed_while_it_took_over(kernel, nursery, autojump_clock):
    old, new = World(spec(ONE)), World(spec(ONE))
    await up(old, nursery)
    new.announcer.begin(beside_predecessor=True)
    handed = await old.announcer.hand_over()
    kernel.addresses.clear()
    new.check(True)
    await new.announcer.take_over(handed)
    nursery.start_soon(new.announcer.run)
    await trio.sleep(1)
    assert kernel.addresses == {ONE}
    assert new.events == [AnnounceChanged((ONE,), "lo", "removed", 0.1), AnnounceUp((ONE,), "lo")]
