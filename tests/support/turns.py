"""Whether work gives way to others, on a clock by which everything takes a while."""

from __future__ import annotations

import trio

__all__ = ["turns_of"]

TICK = 0.0001  # seconds


class _Ticking(trio.abc.Clock):
    """A clock that is a tick later whenever it is read."""

    def __init__(self):
        self._now = 0.0

    def start_clock(self):
        pass

    def current_time(self):
        self._now += TICK
        return self._now

    def deadline_to_sleep_time(self, deadline):
        return deadline - self._now


def turns_of(work):
    """Run ``work()``. Return how often another task has run meanwhile."""
    turns = 0

    async def take_turns():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def run():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            await work()
            nursery.cancel_scope.cancel()

    trio.run(run, clock=_Ticking())
    return turns
