"""Calls that several tasks want at the same time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from lb.net.shared_calls import SharedCalls


class Work:
    """Calls that each take a second, and what they did."""

    def __init__(self):
        self.calls = SharedCalls()
        self.made = 0
        self.results = []

    async def work(self):
        self.made += 1
        number = self.made
        await trio.sleep(1)
        return number

    async def ask(self, key="a"):
        self.results.append(await self.calls.run(key, self.work))


async def test_all_who_ask_while_a_call_is_under_way_get_its_result(autojump_clock):
    work = Work()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(work.ask)
        await trio.sleep(0.5)
        assert "a" in work.calls
        assert "b" not in work.calls
    assert work.results == [1] * 5
    assert "a" not in work.calls
    await work.ask()
    assert work.results[-1] == 2


async def test_other_keys_are_other_calls(autojump_clock):
    work = Work()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.ask, "a")
        nursery.start_soon(work.ask, "b")
    assert sorted(work.results) == [1, 2]


async def test_if_the_caller_is_cancelled_one_of_the_others_calls(autojump_clock):
    work = Work()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(work.ask)
                await trio.testing.wait_all_tasks_blocked()
                for _ in range(3):
                    nursery.start_soon(work.ask)
    assert work.results == [2] * 3
    assert work.made == 2


async def test_an_error_of_the_network_is_everybodys_and_a_bug_is_the_callers(autojump_clock):
    calls, caught = SharedCalls(), []

    async def fail(error):
        await trio.sleep(1)
        raise error

    async def ask(error):
        try:
            await calls.run("a", lambda: fail(error))
        except Exception as exception:  # noqa: BLE001 - the test is about which
            caught.append(exception)

    refused = ConnectionRefusedError()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask, refused)
    assert caught == [refused] * 3
    caught.clear()
    bugs = [ValueError(1), ValueError(2)]
    async with trio.open_nursery() as nursery:
        for bug in bugs:
            nursery.start_soon(ask, bug)
    assert set(caught) == set(bugs)


async def test_a_call_that_is_over_leaves_nothing(autojump_clock):
    work = Work()
    with trio.move_on_after(0.5):
        await work.ask()
    with pytest.raises(OSError, match="x"):
        await work.calls.run("b", _fail)
    assert not work.calls._calls


async def _fail():
    raise OSError("x")
