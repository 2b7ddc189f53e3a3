"""Long work beside the traffic, in short turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

import trio

__all__ = ["in_turns"]

T = TypeVar("T")
TURN = 0.0005
"""Seconds of work before traffic gets its turn."""


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, one after the other; every half millisecond traffic goes first."""
    turn_ends = trio.current_time() + TURN
    for item in items:
        yield item
        if trio.current_time() >= turn_ends:
            await trio.lowlevel.checkpoint()
            turn_ends = trio.current_time() + TURN
