"""The virtual clock: scheduled calls and trio's tasks run in order of time, without waiting."""

from __future__ import annotations

import time

import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.tools.rehearse.virtual_clock import VirtualClock


def run(main, clock):
    trio.run(main, clock, clock=clock, instruments=[clock])


def test_calls_and_tasks_take_place_in_the_order_of_time():
    seen = []

    async def sleeper(clock):
        for _ in range(3):
            await trio.sleep(1)
            seen.append((trio.current_time(), "task"))

    async def main(clock):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, clock)
            for when in (2.5, 0.5, 1.5):
                clock.at(when, lambda: seen.append((clock.now, "call")))
            await clock.run(3.5)

    run(main, VirtualClock())
    assert seen == [(0.5, "call"), (1, "task"), (1.5, "call"), (2, "task"), (2.5, "call"), (3, "task")]


def test_a_task_that_a_call_wakes_goes_on_before_the_next_call():
    seen = []

    async def waiter(clock, event):
        await event.wait()
        seen.append(("task", clock.now))
        await trio.sleep(0.25)
        seen.append(("task", clock.now))

    async def main(clock):
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter, clock, event)
            clock.at(1, event.set)
            clock.at(1.1, lambda: seen.append(("call", clock.now)))
            clock.at(1.3, lambda: seen.append(("call", clock.now)))
            await clock.run(2)

    run(main, VirtualClock())
    assert seen == [("task", 1), ("call", 1.1), ("task", 1.25), ("call", 1.3)]


def test_what_is_planned_later_for_the_same_time_comes_later():
    seen = []

    def first(clock):
        seen.append("first")
        clock.after(0, lambda: seen.append("third"))

    async def main(clock):
        clock.at(1, lambda: first(clock))
        clock.at(1, lambda: seen.append("second"))
        await clock.run(2)

    run(main, VirtualClock())
    assert seen == ["first", "second", "third"]


def test_nothing_takes_place_after_the_end_and_a_day_takes_no_time():
    seen = []

    async def main(clock):
        clock.at(86_400, lambda: seen.append(clock.now))
        clock.at(86_401, lambda: seen.append(clock.now))
        await clock.run(86_400.5)

    began = time.perf_counter()
    run(main, VirtualClock())
    assert seen == [86_400]
    assert time.perf_counter() - began < 60


@given(
    calls=st.lists(st.floats(0, 10), max_size=20),
    sleeps=st.lists(st.lists(st.floats(0, 3), max_size=5), max_size=5),
)
def test_time_never_goes_back(calls, sleeps):
    seen = []

    async def sleeper(clock, naps):
        for nap in naps:
            await trio.sleep(nap)
            seen.append(clock.now)

    async def main(clock):
        async with trio.open_nursery() as nursery:
            for naps in sleeps:
                nursery.start_soon(sleeper, clock, naps)
            for when in calls:
                clock.at(when, lambda: seen.append(clock.now))
            await clock.run(20)

    run(main, VirtualClock())
    assert seen == sorted(seen)
    assert len(seen) == len(calls) + sum(map(len, sleeps))
