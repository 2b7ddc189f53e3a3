"""Purges that go from worker to worker."""

from __future__ import annotations

import pickle

import trio
import trio.testing

from lb.model.purge import Purge, Purged, StoredResponse
from lb.workers.messages import LookUp, PurgedByAll, PurgedByOthers, PurgeKeys, PurgeMatching, PurgeOthers
from lb.workers.process import Reply
from lb.workers.purges import OrderedPurges, OtherWorkers
from lb.workers.queries import Queries

KEYS, TAG = Purge.of_keys([b"a"]), Purge("tag", (b"t",))
ONE, TWO = Purged(frozenset((b"1",))), Purged(frozenset((b"2",)))


class World:
    """A worker whose messages are kept."""

    def __init__(self):
        self.sent, self.done, self.faults = [], [], []
        self.others = OtherWorkers(3, self.sent.append, self.faults.append)

    def purge(self, name, what=KEYS):
        self.others.purge("zone", what, lambda purged: self.done.append((name, purged)))


def test_what_comes_while_an_order_is_under_way_is_in_the_next_one():
    world = World()
    for name in "abc":
        world.purge(name)
    assert world.sent == [PurgeOthers(3, PurgeKeys((("zone", KEYS),)))]
    assert world.others.are_purging
    world.others.purged(PurgedByOthers(PurgeKeys, (ONE,)))
    assert world.done == [("a", ONE)]
    assert world.sent[1:] == [PurgeOthers(3, PurgeKeys((("zone", KEYS), ("zone", KEYS))))]
    world.others.purged(PurgedByOthers(PurgeKeys, (ONE, TWO)))
    assert world.done[1:] == [("b", ONE), ("c", TWO)]
    assert len(world.sent) == 2
    assert not world.others.are_purging


def test_a_purge_that_takes_long_keeps_no_key_waiting():
    world = World()
    world.purge("slow", TAG)
    world.purge("quick")
    world.others.purged(PurgedByOthers(PurgeKeys, (ONE,)))
    assert world.done == [("quick", ONE)]
    assert [type(each.order) for each in world.sent] == [PurgeMatching, PurgeKeys]


def test_without_a_supervisor_nobody_waits():
    world = World()
    for name in "abc":
        world.purge(name)
    world.others.gone()
    world.purge("d")
    assert world.done == [(name, Purged()) for name in "abcd"]
    assert len(world.sent) == 1


def test_a_bug_in_one_request_does_not_reach_another():
    world = World()
    error = RuntimeError("bug")

    def fails(_purged):
        raise error

    world.purge("first")
    world.others.purge("zone", KEYS, fails)
    world.purge("last")
    world.others.purged(PurgedByOthers(PurgeKeys, (ONE,)))
    world.others.purged(PurgedByOthers(PurgeKeys, (ONE, TWO)))
    assert (world.done, world.faults) == ([("first", ONE), ("last", TWO)], [error])


async def test_orders_of_a_type_are_done_in_order_and_those_of_another_beside(nursery):
    replies, walk = [], trio.Event()

    async def purge(_zone, what):
        if what.kind == "tag":
            await walk.wait()
        return Purged(frozenset(what.texts))

    purges = OrderedPurges(purge, lambda kind, purged: replies.append((kind, [each.known for each in purged])))
    nursery.start_soon(purges.run)
    await purges.order(PurgeMatching((("zone", TAG),)))
    await purges.order(PurgeKeys((("zone", KEYS), ("zone", Purge.of_keys([b"b"])))))
    await trio.testing.wait_all_tasks_blocked()
    assert replies == [(PurgeKeys, [{b"a"}, {b"b"}])]
    assert purges.are_unfinished
    walk.set()
    await trio.testing.wait_all_tasks_blocked()
    assert replies[1:] == [(PurgeMatching, [{b"t"}])]
    purges.finished()
    assert purges.are_unfinished, "of one of two"
    purges.finished()
    assert not purges.are_unfinished


async def test_of_what_several_workers_have_the_freshest_is_told():
    old, new, other = (
        StoredResponse(name, 200, 1, 5.0, left) for name, left in ((b"a", 1.0), (b"a", 9.0), (b"b", 2.0))
    )
    workers = [Purging(), Purging(), Purging()]
    for worker, answer in zip(workers, ([new], [old, other], None), strict=True):
        worker.reply.come("", answer)
    assert await Queries(dict(enumerate(workers))).stored("zone", b"key") == [new, other]
    assert workers[0].orders == [LookUp]


class Purging:
    """A worker that replies when it is told to."""

    def __init__(self):
        self.orders, self.reply = [], Reply()

    def order(self, kind, _message):
        self.orders.append(kind)
        return self.reply

    def send(self, message):
        self.orders.append(type(pickle.loads(message)))


async def test_a_purge_waits_for_all_workers_but_the_one_that_asks(nursery):
    workers = [Purging() for _ in range(3)]
    queries, found = Queries(dict(enumerate(workers))), []

    async def purge():
        found.append(await queries.purge_all(PurgeKeys((("zone", KEYS), ("zone", TAG))), 1))

    nursery.start_soon(purge)
    await trio.testing.wait_all_tasks_blocked()
    assert [worker.orders for worker in workers] == [[PurgeKeys], [], [PurgeKeys]]
    workers[0].reply.come("", (ONE, Purged()))
    await trio.testing.wait_all_tasks_blocked()
    assert found == []
    workers[2].reply.come("", (TWO, ONE))
    await trio.testing.wait_all_tasks_blocked()
    assert found == [(ONE.plus(TWO), ONE)]
    assert [worker.orders[1:] for worker in workers] == [[PurgedByAll], [], [PurgedByAll]]


async def test_a_worker_that_ends_has_nothing_left():
    workers = [Purging(), Purging()]
    workers[0].reply.come("killed by SIGKILL")
    workers[1].reply.come("", (ONE,))
    assert await Queries(dict(enumerate(workers))).purge("zone", TAG) == 1
    assert workers[0].orders == [PurgeMatching, PurgedByAll]
