"""The agenda: plain calls and trio's tasks in one order of time, which takes no time."""

from __future__ import annotations

import time

import trio
from hypothesis import given
from hypothesis import strategies as st

from lb.rehearse.agenda import Agenda


def run(main, agenda):
    trio.run(main, agenda, clock=agenda, instruments=[agenda])


def test_calls_and_tasks_take_place_in_the_order_of_time():
    seen = []

    async def sleeper(agenda):
        for _ in range(3):
            await trio.sleep(1)
            seen.append((trio.current_time(), "task"))

    async def main(agenda):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, agenda)
            for when in (2.5, 0.5, 1.5):
                agenda.at(when, lambda: seen.append((agenda.now, "call")))
            await agenda.run(3.5)

    run(main, Agenda())
    assert seen == [(0.5, "call"), (1, "task"), (1.5, "call"), (2, "task"), (2.5, "call"), (3, "task")]


def test_a_task_that_a_call_wakes_goes_on_before_the_next_call():
    seen = []

    async def waiter(agenda, event):
        await event.wait()
        seen.append(("task", agenda.now))
        await trio.sleep(0.25)
        seen.append(("task", agenda.now))

    async def main(agenda):
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter, agenda, event)
            agenda.at(1, event.set)
            agenda.at(1.1, lambda: seen.append(("call", agenda.now)))
            agenda.at(1.3, lambda: seen.append(("call", agenda.now)))
            await agenda.run(2)

    run(main, Agenda())
    assert seen == [("task", 1), ("call", 1.1), ("task", 1.25), ("call", 1.3)]


def test_what_is_planned_later_for_the_same_time_comes_later():
    seen = []

    def first(agenda):
        seen.append("first")
        agenda.after(0, lambda: seen.append("third"))

    async def main(agenda):
        agenda.at(1, lambda: first(agenda))
        agenda.at(1, lambda: seen.append("second"))
        await agenda.run(2)

    run(main, Agenda())
    assert seen == ["first", "second", "third"]


def test_nothing_takes_place_after_the_end_and_a_day_takes_no_time():
    seen = []

    async def main(agenda):
        agenda.at(86_400, lambda: seen.append(agenda.now))
        agenda.at(86_401, lambda: seen.append(agenda.now))
        await agenda.run(86_400.5)

    began = time.perf_counter()
    run(main, Agenda())
    assert seen == [86_400]
    assert time.perf_counter() - began < 60


@given(
    calls=st.lists(st.floats(0, 10), max_size=20),
    sleeps=st.lists(st.lists(st.floats(0, 3), max_size=5), max_size=5),
)
def test_time_never_goes_back(calls, sleeps):
    seen = []

    async def sleeper(agenda, naps):
        for nap in naps:
            await trio.sleep(nap)
            seen.append(agenda.now)

    async def main(agenda):
        async with trio.open_nursery() as nursery:
            for naps in sleeps:
                nursery.start_soon(sleeper, agenda, naps)
            for when in calls:
                agenda.at(when, lambda: seen.append(agenda.now))
            await agenda.run(20)

    run(main, Agenda())
    assert seen == sorted(seen)
    assert len(seen) == len(calls) + sum(map(len, sleeps))
