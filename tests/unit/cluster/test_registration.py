"""A node's entry: its lease, its name, and what becomes of it when etcd or another balancer is in the way."""

from __future__ import annotations

import pytest
import trio

from lb.cluster.node_state import NodeNameError
from lb.cluster.registration import GRACE, LEASE, Registration
from lb.etcd.errors import EtcdError
from lb.etcd.messages import KeyValue, RangeAnswer, StoreState, TxnAnswer

KEY = b"/trio-lb/cluster/edge/nodes/lb1"


class FakeEtcd:
    """The leases and keys of etcd, by trio's clock. ``away``: each request fails so."""

    def __init__(self):
        self.away = ""
        self.ends = {}
        self.keys = {}
        self.written = []

    def _check(self):
        if self.away:
            raise EtcdError({"http://etcd:1": self.away})
        now = trio.current_time()
        self.keys = {key: (value, lease) for key, (value, lease) in self.keys.items() if self.ends[lease] > now}

    async def grant(self, ttl, *, within):
        self._check()
        lease = len(self.ends) + 1
        self.ends[lease] = trio.current_time() + ttl
        return lease

    async def keep_alive(self, lease, *, within):
        self._check()
        if self.ends.get(lease, 0) <= trio.current_time():
            return 0
        self.ends[lease] = trio.current_time() + LEASE
        return LEASE

    async def time_to_live(self, lease, *, within):
        self._check()
        return max(0, int(self.ends[lease] - trio.current_time()))

    async def revoke(self, lease, *, within):
        self._check()
        self.ends[lease] = 0

    async def range(self, request, *, within):
        self._check()
        found = [KeyValue(KEY, value, lease=lease) for value, lease in self.keys.values()]
        return RangeAnswer(StoreState(1, 1), tuple(found), len(found))

    async def txn(self, conditions, operations, *, within):
        self._check()
        ((condition,), (put,)) = conditions, operations
        _, lease = self.keys.get(put.key, (b"", 0))
        succeeded = put.key not in self.keys if condition.target == "CREATE" else lease == condition.value
        if succeeded:
            self.keys[put.key] = (put.value, put.lease)
            self.written.append(put.value)
        return TxnAnswer(StoreState(1, 1), succeeded)


class World:
    def __init__(self):
        self.store = FakeEtcd()
        self.state = b"one"
        self.leases = 0
        self.said = []

    def registration(self, lease=0):
        return Registration(self.store, KEY, "lb1", lambda: self.state, self.leased, lease)

    def leased(self):
        self.leases += 1

    def done(self, errors):
        if errors != (self.said or [()])[-1]:
            self.said.append(errors)


@pytest.fixture
def world():
    return World()


async def test_the_key_is_written_once_and_when_the_state_changes(world, autojump_clock, nursery):
    nursery.start_soon(world.registration().run, world.done)
    await trio.sleep(4.5)
    world.state = b"two"
    await trio.sleep(4.5)
    assert world.store.written == [b"one", b"two"]
    assert (world.leases, world.said) == (1, [])


async def test_a_key_that_is_gone_and_a_lease_that_has_ended_come_back(world, autojump_clock, nursery):
    registration = world.registration()
    nursery.start_soon(registration.run, world.done)
    await trio.sleep(0.5)
    world.store.keys.clear()
    registration.gone()
    await trio.sleep(1)
    assert world.store.written == [b"one", b"one"]
    world.store.ends[registration.lease] = 0
    await trio.sleep(1)
    assert (world.store.written, world.leases) == ([b"one"] * 3, 2)


async def test_failures_are_said_when_they_last_and_end(world, autojump_clock, nursery):
    nursery.start_soon(world.registration().run, world.done)
    await trio.sleep(0.5)
    world.store.away = "connection refused"
    await trio.sleep(GRACE - 1)
    assert world.said == [], "a sign of life that is late"
    await trio.sleep(2)
    assert world.said == [("http://etcd:1: connection refused",)]
    world.store.away = ""
    await trio.sleep(1)
    assert world.said[-1] == ()


async def test_a_name_that_another_living_node_has_is_refused(world, autojump_clock, nursery):
    nursery.start_soon(world.registration().run, world.done)
    await trio.sleep(0.5)
    with pytest.raises(NodeNameError, match="another balancer is the node 'lb1'"):
        await world.registration().begin()
    assert trio.current_time() < 4


async def test_after_the_death_of_its_last_process_a_node_starts_and_waits_for_the_lease(
    world, autojump_clock, nursery
):
    async with trio.open_nursery() as before:
        before.start_soon(world.registration().run, world.done)
        await trio.sleep(2.5)
        before.cancel_scope.cancel()
    died = trio.current_time()
    world.state = b"again"
    again = world.registration()
    await again.begin()
    assert trio.current_time() - died < 3.5, "the start waited for the lease"
    nursery.start_soon(again.run, world.done)
    await trio.sleep_until(died + LEASE + 1.5)
    assert world.store.written == [b"one", b"again"]
    assert world.said == [], "nothing to complain of"


async def test_a_running_node_whose_name_is_taken_says_so_once_it_cannot_be_its_own(world, autojump_clock, nursery):
    first, second = world.registration(), world.registration()
    nursery.start_soon(first.run, lambda errors: None)
    await trio.sleep(0.5)
    nursery.start_soon(second.run, world.done)
    await trio.sleep(LEASE)
    assert world.said == []
    await trio.sleep(3)
    assert world.said == [("another balancer is the node 'lb1' of this cluster",)]


async def test_a_successor_goes_on_with_the_lease(world, autojump_clock, nursery):
    first = world.registration()
    await first.begin()
    world.state = b"next version"
    nursery.start_soon(world.registration(first.lease).run, world.done)
    await trio.sleep(LEASE + 2)
    assert world.store.written == [b"one", b"next version"]
    assert world.leases == 1


async def test_the_end_takes_the_node_from_the_list(world, autojump_clock):
    registration = world.registration()
    await registration.end()
    await registration.begin()
    await registration.end()
    assert not (await world.store.range(None, within=1)).found


async def test_a_start_does_not_wait_for_an_etcd_that_is_silent(world, autojump_clock, monkeypatch):
    async def silent(*arguments, **options):
        await trio.sleep_forever()

    monkeypatch.setattr(world.store, "grant", silent)
    await world.registration().begin()
    assert trio.current_time() < 3
