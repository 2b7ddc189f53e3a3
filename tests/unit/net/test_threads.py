"""Threads by purpose: limits, deadlines, and calls that never end."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from lb.net.threads import Threads
from tests.support.balancer import PATIENCE


@pytest.fixture
def hanging():
    """A call that hangs until the end of the test, in as many threads as wanted."""
    end = threading.Event()
    yield end.wait
    end.set()


async def test_a_purpose_whose_threads_all_hang_delays_no_other(hanging, nursery):
    stuck, well = Threads(2), Threads(1)
    for _ in range(3):
        nursery.start_soon(stuck.run, hanging)
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(PATIENCE):
        assert await well.run(lambda: "here") == "here"
    nursery.cancel_scope.cancel()


async def test_a_call_that_hangs_is_abandoned_at_its_deadline(hanging):
    with pytest.raises(TimeoutError, match=r"^no answer in 0\.01 s$"):
        await Threads(1, 0.01).run(hanging)


async def test_a_cancelled_call_is_abandoned_so_that_a_stop_does_not_wait(hanging):
    with trio.fail_after(PATIENCE), trio.move_on_after(0.01) as given_up:
        await Threads(1).run(hanging)
    assert given_up.cancelled_caught


async def test_abandoned_threads_count_until_they_end():
    threads, end = Threads(1), threading.Event()
    with trio.move_on_after(0.01):
        await threads.run(end.wait)
    with trio.move_on_after(0.01) as waited:
        await threads.run(int)
    assert waited.cancelled_caught
    end.set()
    with trio.fail_after(PATIENCE):
        assert await threads.run(int) == 0


async def test_the_deadline_does_not_begin_before_there_is_a_thread(mock_clock):
    """Else a name that was never looked up would count as one without an answer."""
    threads, end = Threads(1, 5), threading.Event()
    answers = []

    async def hold():
        with pytest.raises(TimeoutError):
            await threads.run(end.wait)

    async def ask():
        answers.append(await threads.run(lambda: "asked"))

    async with trio.open_nursery() as waiting:
        waiting.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        waiting.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(100)
        await trio.testing.wait_all_tasks_blocked()
        end.set()
    assert answers == ["asked"]


async def test_what_the_function_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        await Threads(1).run(lambda: 1 // 0)
