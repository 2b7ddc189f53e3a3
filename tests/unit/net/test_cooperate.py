"""Long work in short turns: other tasks run in between, and cancelled work ends."""

from __future__ import annotations

import trio

from lb.net.cooperate import done_in_turns


def work(steps, done):
    for step in range(steps):
        done.append(step)
        yield
    return "done"


async def test_others_go_first_between_turns():
    mine, theirs = [], []

    async def traffic():
        while True:
            theirs.append(len(mine))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(traffic)
        assert await done_in_turns(work(20, mine), turn=0) == "done"
        nursery.cancel_scope.cancel()
    assert len(mine) == 20
    assert len(set(theirs)) > 10, "the other task ran in between"


async def test_work_that_is_cancelled_goes_no_further():
    mine = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await done_in_turns(work(20, mine), turn=0)
    assert mine == [0]


async def test_a_turn_lasts_as_long_as_it_may(mock_clock):
    mine = []
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await done_in_turns(work(20, mine), turn=1) == "done"
    assert len(mine) == 20
