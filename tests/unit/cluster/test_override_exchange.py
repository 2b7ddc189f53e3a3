"""How operators are answered: told at once, told later, not told and why."""

from __future__ import annotations

import pytest
import trio

from lb.cluster.override_exchange import TELL_AGAIN, TELL_TIMEOUT, OverrideExchange
from lb.cluster.part import BadKeys, PartKeys
from lb.cluster.said_override import SaidOverride
from lb.cluster.shared_overrides import SharedOverrides
from lb.control.overrides import Override, changed
from lb.etcd.errors import EtcdError
from lb.etcd.messages import KeyValue, PrefixEvent, RangeAnswer, StoreState, TxnAnswer

A = ("web", "a")
KEY = b"/overrides/web/a"
REFUSED = EtcdError({"http://etcd:1": "database space exceeded"}, 8)


class FakeBalancer:
    def __init__(self):
        self.overrides = {}
        self.applied = []

    async def override(self, pool, server, change, node):
        if server == "unknown":
            raise KeyError(server)
        self.overrides[pool, server] = changed(self.overrides.get((pool, server), Override()), change)
        self.applied.append(((pool, server), node))

    async def take_overrides(self, latest, said_by):
        before, self.overrides = self.overrides, dict(latest())
        changes = {place for place in {**before, **self.overrides} if before.get(place) != self.overrides.get(place)}
        self.applied += [(place, said_by(place)) for place in sorted(changes)]


class FakeClient:
    """One key of etcd. ``failure`` is raised in place of an answer, which takes ``seconds``."""

    def __init__(self):
        self.failure = None
        self.seconds = 0.01
        self.revision = 1
        self.found = {}
        self.asked = 0

    def put(self, key, value):
        self.revision += 1
        self.found[key] = KeyValue(key, value, mod_revision=self.revision)
        return PrefixEvent(self.found[key])

    async def txn(self, conditions, operations, *, within):
        self.asked += 1
        await trio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        ((condition,), (put,)) = conditions, operations
        known = self.found[put.key].mod_revision if put.key in self.found else 0
        if known != condition.value:
            return TxnAnswer(StoreState(1, self.revision), succeeded=False)
        self.put(put.key, put.value)
        return TxnAnswer(StoreState(1, self.revision), succeeded=True)

    async def range(self, request, *, within):
        await trio.sleep(self.seconds)
        found = (self.found[request.key],) if request.key in self.found else ()
        return RangeAnswer(StoreState(1, self.revision), found, len(found))


class World:
    def __init__(self):
        self.balancer, self.client, self.events = FakeBalancer(), FakeClient(), []
        bad_keys = BadKeys(self.events.append, "/")
        self.exchange = OverrideExchange(SharedOverrides(), self.balancer, "lb1", lambda: "then", bad_keys)

    async def say(self, **change):
        return await self.exchange.say(*A, change)

    @property
    def override(self):
        return self.balancer.overrides.get(A, Override())

    def stored(self):
        return SaidOverride.decoded(self.client.found[KEY].value).override


@pytest.fixture
def world(nursery):
    world = World()
    nursery.start_soon(world.exchange.tell, PartKeys(world.client, b"/overrides/", "lb1"))
    nursery.start_soon(world.exchange.apply)
    world.exchange.sees()
    return world


async def test_the_answer_comes_once_etcd_has_it(world, autojump_clock):
    assert await world.say(drained=True) == "told"
    assert trio.current_time() < 0.1
    assert (world.override, world.stored()) == (Override(drained=True),) * 2
    assert world.exchange.said == {"told": 1, "not_told": 0}
    assert world.balancer.applied == [(A, "lb1")]


async def test_an_unknown_server_is_told_to_nobody(world, autojump_clock):
    with pytest.raises(KeyError):
        await world.exchange.say("web", "unknown", {"drained": True})
    assert world.client.asked == 0


async def test_a_slow_etcd_is_not_waited_for_longer_than_a_second_and_told_all_the_same(world, autojump_clock):
    world.client.seconds = 1.5
    assert await world.say(drained=True) == "not told: no answer in 1 s"
    assert trio.current_time() == pytest.approx(TELL_TIMEOUT)
    assert world.override == Override(drained=True)
    await trio.sleep(1)
    assert not world.exchange.shared.untold
    assert world.stored() == Override(drained=True)


async def test_a_refusal_is_told_at_once_and_tried_again(world, autojump_clock):
    world.client.failure = REFUSED
    assert await world.say(drained=True) == "not told: http://etcd:1: database space exceeded"
    assert trio.current_time() < 0.1
    await trio.sleep(10)
    assert 5 < world.client.asked < 15, "not at all, or without a pause"
    world.client.failure = None
    await trio.sleep(TELL_AGAIN + 0.1)
    assert world.stored() == Override(drained=True)
    assert await world.say(weight=3) == "told"


async def test_while_etcd_is_away_nobody_waits_and_the_reason_is_told(world, autojump_clock):
    world.exchange.lost(("http://etcd:1: connection refused", "http://etcd:2: no answer in 3 s"))
    assert (
        await world.say(drained=True) == "not told: http://etcd:1: connection refused; http://etcd:2: no answer in 3 s"
    )
    assert trio.current_time() == 0
    await trio.sleep(5)
    assert world.client.asked == 0, "the follower says when it is back"
    world.exchange.sees()
    await trio.sleep(0.1)
    assert world.stored() == Override(drained=True)


async def test_who_waits_when_etcd_goes_away_is_answered_then(world, autojump_clock, nursery):
    world.client.seconds = 30

    async def lose():
        await trio.sleep(0.3)
        world.exchange.lost(("connection refused",))

    nursery.start_soon(lose)
    assert await world.say(drained=True) == "not told: connection refused"
    assert trio.current_time() == pytest.approx(0.3)


async def test_another_node_was_faster_and_both_hold(world, autojump_clock):
    world.client.put(KEY, SaidOverride(Override(weight=3), "lb2", "").encoded())
    assert await world.say(drained=True) == "told"
    await trio.testing.wait_all_tasks_blocked()
    assert world.override == world.stored() == Override(drained=True, weight=3)


async def test_a_key_that_was_deleted_is_no_hindrance(world, autojump_clock):
    assert await world.say(drained=True) == "told"
    del world.client.found[KEY]
    world.client.revision += 1
    assert await world.say(weight=3) == "told"
    await trio.testing.wait_all_tasks_blocked()
    assert world.override == world.stored() == Override(weight=3)


async def test_what_others_say_is_applied_with_their_names(world, autojump_clock):
    world.exchange.changed("web/a", world.client.put(KEY, SaidOverride(Override(drained=True), "lb2", "").encoded()))
    world.exchange.changed("web/b", world.client.put(b"x", SaidOverride(Override(weight=3), "lb3", "").encoded()))
    await trio.testing.wait_all_tasks_blocked()
    assert world.balancer.applied == [(A, "lb2"), (("web", "b"), "lb3")]
    assert world.balancer.overrides == {A: Override(drained=True), ("web", "b"): Override(weight=3)}


@pytest.mark.parametrize(("key", "value"), [("web/a", b"nonsense"), ("web", b"{}"), ("/a", b"{}"), ("web/", b"{}")])
async def test_what_no_node_has_written_is_said_once_and_changes_nothing(world, autojump_clock, key, value):
    assert await world.say(drained=True) == "told"
    for _ in range(2):
        world.exchange.changed(key, world.client.put(b"/overrides/" + key.encode(), value))
    await trio.testing.wait_all_tasks_blocked()
    assert [event.key for event in world.events] == [f"/overrides/{key}"]
    assert world.override == Override(drained=True)
    assert await world.say(weight=3) == "told"
    assert world.stored() == Override(drained=True, weight=3)


async def test_overrides_from_before_the_membership_are_told(world, autojump_clock):
    world.balancer.overrides = {A: Override(weight=5)}
    world.exchange.say_what_holds({})
    await trio.sleep(0.1)
    assert world.stored() == Override(weight=5)
