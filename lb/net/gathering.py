"""Moments at which bytes that may wait a little are read together, of all streams of a process.

To read each packet as it comes costs a stream more than twice the CPU: most of it is spent on waking up.
"""

from __future__ import annotations

import trio

__all__ = ["GATHERING", "all_read", "gather"]

GATHERING = 0.1
"""Seconds from one moment to the next."""


async def gather() -> None:
    """Wait for the next moment: tasks that do so are woken together."""
    await trio.sleep_until((trio.current_time() // GATHERING + 1) * GATHERING)


async def all_read() -> None:
    """Wait until what has come by now was read by tasks that gather: one moment for bytes, one for the end behind."""
    for _ in range(3):  # tasks of one moment run in any order
        await gather()
