"""Exact deadlines, on trio's autojump clock."""

from __future__ import annotations

import math
import sys
import time

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lb.net.cooperate import WORK_TURN
from lb.net.deadlines import DeadlineQueue, Deadlines


class Sleeper:
    """A wait that records when and in which queue it expired."""

    def __init__(self):
        self.expirations = []

    def expired(self, queue):
        self.expirations.append((queue.kind, trio.current_time()))


class Broken(Sleeper):
    def expired(self, queue):
        raise RuntimeError("boom")


@pytest.fixture
def clock(autojump_clock):
    return autojump_clock


@pytest.fixture
def faults():
    return []


@pytest.fixture
async def deadlines(nursery, faults):
    deadlines = Deadlines(fault=lambda where, exception: faults.append((where, exception)))
    nursery.start_soon(deadlines.run)
    await trio.testing.wait_all_tasks_blocked()
    yield deadlines
    assert not faults, faults


async def test_a_wait_expires_at_its_deadline_exactly(clock, deadlines):
    start = trio.current_time()
    sleeper = Sleeper()
    deadlines.queue("idle", 600).touch(sleeper, start)
    await trio.sleep(1000)
    assert sleeper.expirations == [("idle", start + 600)]


async def test_what_arrived_while_the_process_stood_still_is_handled_before_deadlines_pass(clock, deadlines):
    """A connect that was established during a stall of 5 s counted as a failure of the server."""
    clock.autojump_threshold = math.inf
    arrived, silent = Sleeper(), Sleeper()
    connects = deadlines.queue("connect", 3)
    for sleeper in (arrived, silent):
        connects.enter(sleeper, trio.current_time())
    await trio.testing.wait_all_tasks_blocked()
    clock.jump(5)
    await trio.testing.wait_all_tasks_blocked()
    connects.discard(arrived)  # its edge is handled now
    clock.autojump_threshold = 0
    await trio.sleep(2)
    assert (arrived.expirations, len(silent.expirations)) == ([], 1)


@pytest.mark.parametrize("where", ["in a wait", "in another task"])
async def test_a_stall_while_deadlines_expire_counts_as_one_while_the_task_sleeps(clock, deadlines, nursery, where):
    """It was forgotten: the task took the clock after the stall as the time at which it was to wake."""
    clock.autojump_threshold = math.inf
    arrived, silent = Sleeper(), Sleeper()
    connects = deadlines.queue("connect", 3)
    for sleeper in (arrived, silent):
        connects.enter(sleeper, trio.current_time())

    class Stalling(Sleeper):
        def expired(self, queue):
            if where == "in a wait":
                clock.jump(5)
            else:
                clock.jump(WORK_TURN)  # so others are let in
                nursery.start_soon(stall)

    async def stall():
        clock.jump(5)

    deadlines.queue("hold", 1).enter(Stalling(), trio.current_time())
    await trio.testing.wait_all_tasks_blocked()
    clock.jump(1)
    await trio.testing.wait_all_tasks_blocked()
    connects.discard(arrived)  # its edge is handled now
    clock.autojump_threshold = 0
    await trio.sleep(2)
    assert (arrived.expirations, len(silent.expirations)) == ([], 1)


async def test_other_tasks_run_while_many_waits_expire_at_once(deadlines):
    """As after a flood of clients that say nothing. Each end takes a millisecond here."""
    expired, seen = [], []

    class Slow(Sleeper):
        def expired(self, queue):
            expired.append(self)
            until = time.perf_counter() + 0.001
            while time.perf_counter() < until:
                pass

    queue = deadlines.queue("header", 0.01)
    for _ in range(50):
        queue.enter(Slow(), trio.current_time())
    while len(expired) < 50:
        await trio.lowlevel.checkpoint()
        if len(expired) not in seen:
            seen.append(len(expired))
    assert len(seen) > 15


async def test_a_touch_starts_the_wait_anew(clock, deadlines):
    start = trio.current_time()
    queue, touched, quiet = deadlines.queue("idle", 10), Sleeper(), Sleeper()
    queue.touch(touched, start)
    queue.touch(quiet, start)
    await trio.sleep(9.5)
    queue.touch(touched, trio.current_time())
    await trio.sleep(100)
    assert quiet.expirations == [("idle", start + 10)]
    assert touched.expirations == [("idle", start + 19.5)]


async def test_a_discarded_wait_does_not_expire(clock, deadlines):
    queue, sleeper = deadlines.queue("connect", 3), Sleeper()
    queue.touch(sleeper, trio.current_time())
    queue.discard(sleeper)
    queue.discard(sleeper)
    await trio.sleep(10)
    assert sleeper.expirations == []


async def test_a_short_queue_that_is_added_while_the_task_sleeps_for_a_long_one_is_on_time(clock, deadlines):
    start = trio.current_time()
    slow, quick = Sleeper(), Sleeper()
    deadlines.queue("idle", 36).touch(slow, start)
    await trio.sleep(10)
    deadlines.queue("connect", 0.25).touch(quick, trio.current_time())
    await trio.sleep(50)
    assert quick.expirations == [("connect", start + 10.25)]
    assert slow.expirations == [("idle", start + 36)]


async def test_a_queue_that_an_expiry_adds_is_on_time(clock, deadlines):
    start = trio.current_time()
    quick = Sleeper()

    class Adding(Sleeper):
        def expired(self, queue):
            deadlines.queue("hold", 0.25).touch(quick, trio.current_time())

    deadlines.queue("idle", 100).touch(Adding(), start)
    await trio.sleep(200)
    assert quick.expirations == [("hold", start + 100.25)]


async def test_a_wait_that_enters_an_empty_queue_late_is_on_time(clock, deadlines):
    queue, sleeper = deadlines.queue("connect", 3), Sleeper()
    await trio.sleep(1.75)
    entered = trio.current_time()
    queue.touch(sleeper, entered)
    await trio.sleep(10)
    assert sleeper.expirations == [("connect", entered + 3)]


async def test_a_wait_that_raises_is_reported_and_the_others_expire(clock, deadlines, faults):
    queue, sleeper = deadlines.queue("idle", 1), Sleeper()
    queue.touch(Broken(), trio.current_time())
    queue.touch(sleeper, trio.current_time())
    await trio.sleep(2)
    assert len(sleeper.expirations) == 1
    ((where, exception),) = faults
    faults.clear()
    assert where == "idle deadline"
    assert str(exception) == "boom"


async def test_an_infinite_timeout_keeps_no_waits_and_wakes_nobody(clock, deadlines):
    queue, sleeper = deadlines.queue("idle", math.inf), Sleeper()
    queue.touch(sleeper, trio.current_time())
    assert len(queue) == 0
    assert queue.next_deadline == math.inf
    clock.autojump_threshold = math.inf  # stop the clock: if the task were awake, it would have to wait for something
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
    clock.autojump_threshold = 0


def test_the_same_arguments_get_the_same_queue():
    deadlines = Deadlines(fault=lambda where, exception: None)
    assert deadlines.queue("idle", 5) is deadlines.queue("idle", 5)
    assert deadlines.queue("idle", 5) is not deadlines.queue("half_close", 5)
    assert deadlines.queue("idle", 5) is not deadlines.queue("idle", 6)


def test_waits_that_have_left_are_not_kept_alive():
    queue = DeadlineQueue("idle", 10)
    sleeper = Sleeper()
    references = sys.getrefcount(sleeper)
    queue.touch(sleeper, 0)
    queue.touch(sleeper, 1)
    assert len(queue) == 1
    queue.discard(sleeper)
    queue.touch(sleeper, 2)
    assert queue.pop_due(12) is sleeper
    assert len(queue) == 0
    assert sys.getrefcount(sleeper) == references


def test_the_wait_that_is_due_first_comes_out_first():
    queue = DeadlineQueue("idle", 10)
    first, second = Sleeper(), Sleeper()
    queue.touch(first, 0)
    queue.touch(second, 1)
    queue.touch(first, 2)
    assert queue.next_deadline == 11
    assert queue.pop_due(10.9) is None
    assert queue.pop_due(11) is second
    assert queue.pop_due(11) is None
    assert queue.pop_due(12) is first


async def test_a_renewed_wait_is_due_as_of_the_moment_given_and_in_order(clock, deadlines):
    """Like a connection with activity since its entry."""
    queue, order = deadlines.queue("idle", 10), []

    class Living(Sleeper):
        def __init__(self, name, last_sign):
            self.name, self.last_sign = name, last_sign

        def expired(self, queue):
            if self.last_sign is not None:
                queue.renew(self, self.last_sign)
                self.last_sign = None
            else:
                order.append((self.name, trio.current_time() - start))

    start = trio.current_time()
    queue.enter(Living("late", start + 8), start)
    queue.enter(Living("early", start + 3), start)
    queue.enter(Living("never touched", None), start)
    await trio.sleep(5)
    queue.enter(Living("new", None), start + 5)
    assert len(queue) == 4
    await trio.sleep(100)
    assert order == [("never touched", 10), ("early", 13), ("new", 15), ("late", 18)]
    assert len(queue) == 0


@given(steps=st.lists(st.tuples(st.sampled_from("erdp"), st.integers(0, 4), st.integers(0, 9))))
def test_any_order_of_calls_gives_out_what_a_plain_list_would(steps):
    queue, model = DeadlineQueue("idle", 10), {}
    waits = [Sleeper() for _ in range(5)]
    now = 0.0
    for call, number, amount in steps:
        wait = waits[number]
        if call == "e":
            queue.touch(wait, now)
            model[wait] = now
        elif call == "r" and wait not in model:
            queue.renew(wait, now - amount)
            model[wait] = now - amount
        elif call == "d":
            queue.discard(wait)
            model.pop(wait, None)
        else:
            now += amount
            while (due := queue.pop_due(now)) is not None:
                assert model[due] == min(model.values())
                assert model.pop(due) + 10 <= now
            assert not [since for since in model.values() if since + 10 <= now]
        assert len(queue) == len(model)
        assert queue.next_deadline == min(model.values(), default=math.inf) + 10


def test_those_who_were_renewed_and_left_are_not_kept_alive():
    queue = DeadlineQueue("idle", 10)
    sleepers = [Sleeper() for _ in range(1000)]
    references = sys.getrefcount(sleepers[0])
    for sleeper in sleepers:
        queue.renew(sleeper, 0)
    for sleeper in sleepers:
        queue.discard(sleeper)
    references_left = sys.getrefcount(sleepers[0])
    assert references_left == references


def test_touching_and_discarding_cost_the_same_however_many_wait():
    """Counts calls instead of time: no other wait is hashed or compared, so none is visited."""
    looked_at = []

    class Counting(Sleeper):
        def __hash__(self):
            looked_at.append(self)
            return id(self)

        def __eq__(self, other):
            looked_at.append(self)
            return self is other

    queue = DeadlineQueue("idle", 10)
    waits = [Counting() for _ in range(10_000)]
    for wait in waits:
        queue.touch(wait, 0)
    looked_at.clear()
    queue.touch(waits[5000], 1)
    queue.discard(waits[5001])
    assert set(map(id, looked_at)) == {id(waits[5000]), id(waits[5001])}
    assert len(looked_at) < 10
