"""Long work beside the traffic, in short turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterable
from typing import TypeVar

import trio

__all__ = ["done_in_turns", "in_turns"]

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


async def done_in_turns(work: Generator[None, None, T], turn: float = TURN) -> T:
    """Drive a generator to its result; each ``turn`` seconds traffic goes first, as far as it yields in between."""
    turn_ends = trio.current_time() + turn
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result
        if trio.current_time() >= turn_ends:
            await trio.lowlevel.checkpoint()
            turn_ends = trio.current_time() + turn
