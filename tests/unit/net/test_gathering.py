"""Common moments of reading."""

from __future__ import annotations

import pytest
import trio

from lb.net.gathering import GATHERING, gather


async def test_tasks_are_woken_at_the_same_moment(autojump_clock):
    woken = []

    async def wait(pause):
        await trio.sleep(pause)
        await gather()
        woken.append(trio.current_time())

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for pause in (0.01, 0.05, 0.09):
            nursery.start_soon(wait, pause * GATHERING)
    assert len(set(woken)) == 1
    assert woken[0] - began <= GATHERING


@pytest.mark.parametrize("begin", range(100))
async def test_who_waits_at_a_moment_waits_for_the_next(autojump_clock, begin):
    await trio.sleep_until(begin / 10)
    for number in range(1, 4):
        await gather()
        assert trio.current_time() == pytest.approx(begin / 10 + number * GATHERING)
